/* Grapheme: extended grapheme clusters, as the `tokenizers` library finds them: Unicode
 * 17 with its rule for conjuncts (GB9c), where utf8proc 2.8 has Unicode 15. Pure; any
 * thread. */
#ifndef SEQ_TEXT_GRAPHEME_H
#define SEQ_TEXT_GRAPHEME_H

#include <stddef.h>

/* The end of the cluster that begins at s[at], at < n, of valid UTF-8. */
size_t grapheme_end(const char *s, size_t n, size_t at);

#endif
