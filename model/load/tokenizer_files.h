/* Tokenizer_files: the tokenizer of a model folder, whatever files it is in.
 *
 * tokenizer.json wins. Where there is none, vocab.txt or vocab.json with merges.txt are
 * converted as transformers does it (tokenizer_legacy.h). special_tokens_map.json,
 * tokenizer_config.json and added_tokens.json say what either leaves open: which token is
 * the mask, and tokens that are found in a text before anything else. SentencePiece files
 * alone are refused, with the command that converts them. One thread, at load. */
#ifndef SEQ_LOAD_TOKENIZER_FILES_H
#define SEQ_LOAD_TOKENIZER_FILES_H

#include "model/base/problems.h"
#include "model/load/tokenizer_json.h"

/* *out must be zeroed. ERR_IO, ERR_FORMAT, ERR_MISMATCH, ERR_UNSUPPORTED, ERR_LIMIT,
 * ERR_NOMEM. */
enum err_code tokenizer_files_read(const char *dir, struct tokenizer_plan *out,
                                   struct err *err) MUST_CHECK;

/* The same, but what is wrong goes into *problems; *out is filled only if that got none.
 */
enum err_code tokenizer_files_survey(const char *dir, struct problems *problems,
                                     struct tokenizer_plan *out,
                                     struct err *err) MUST_CHECK;

#endif
