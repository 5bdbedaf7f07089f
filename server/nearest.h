/* Nearest: which of the known names a person probably meant. Pure; any thread. */
#ifndef SERVER_NEAREST_H
#define SERVER_NEAREST_H

#include <stdbool.h>
#include <stddef.h>

/* Edits (insert, drop, change one character) from a to b; SIZE_MAX if either is longer
 * than 63 bytes. */
size_t nearest_distance(const char *a, const char *b);

/* Whether b is close enough to a to be suggested for it. */
bool nearest_is_close(const char *a, size_t distance);

#endif
