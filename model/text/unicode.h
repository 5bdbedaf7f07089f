/* Unicode: what the `tokenizers` library takes a code point for. Pure; any thread.
 *
 * The library mixes several Unicode versions, so its own answers are tabulated
 * (unicode_tables.h, made by make_unicode_tables.py); utf8proc serves the rest. */
#ifndef SEQ_TEXT_UNICODE_H
#define SEQ_TEXT_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A set of UNICODE_ bits. */
enum unicode_flag {
    UNICODE_LETTER = 1,       /* \p{L} of the library's regex engine */
    UNICODE_NUMBER = 2,       /* \p{N} of the same */
    UNICODE_SPACE = 4,        /* White_Space */
    UNICODE_WORD = 8,         /* \w of added tokens and of Whitespace */
    UNICODE_NUMERIC = 16,     /* what Digits isolates */
    UNICODE_PUNCT = 32,       /* what BERT and Punctuation isolate */
    UNICODE_CONTROL = 64,     /* what clean_text drops */
    UNICODE_NONSPACING = 128, /* what BERT's strip_accents drops */
    UNICODE_MARK = 256,       /* what StripAccents drops */
    UNICODE_UNNORMED = 512    /* newer than the library's normalization tables */
};

/* All flags of a code point. */
unsigned unicode_flags(uint32_t cp);

/* \w of the library's regex engine, which differs a little from UNICODE_WORD. */
bool unicode_is_regex_word(uint32_t cp);

/* The library's regex engine knows Unicode 16, PCRE2 on Debian 12 Unicode 14: a character
 * that both know, of the same general category, the same number of bytes in UTF-8 and,
 * for the scripts that expressions name, the same script. cp itself if PCRE2 knows it. */
uint32_t unicode_stand_in(uint32_t cp);

/* What BertNormalizer puts blanks around. */
bool unicode_is_chinese(uint32_t cp);

/* The number of a code point's script, as UnicodeScripts tells them apart: kana count as
 * Han, blanks as nothing. */
enum { UNICODE_NO_SCRIPT = 0 };
unsigned unicode_script(uint32_t cp);

/* Lower case, without context: 1 or 2 code points; returns how many. */
size_t unicode_lower(uint32_t cp, uint32_t out[2]);

/* ByteLevel's printable character for a byte, and back (-1: no byte has it). */
uint32_t unicode_from_byte(unsigned char byte);
int unicode_to_byte(uint32_t cp);

#endif
