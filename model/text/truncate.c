#include "model/text/tokenizer.h"

#include <assert.h>

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

void tokenizer_truncate_pair(size_t n1, size_t n2, size_t max, size_t *keep1,
                             size_t *keep2)
{
    size_t less = n1 <= n2 ? n1 : n2, more = n1 <= n2 ? n2 : n1;
    if (less > max || more > max - less) {
        more = less > max ? less : larger(less, max - less);
        if (less > max || more > max - less) {
            less = max / 2;
            more = less + max % 2;
        }
    }
    *keep1 = n1 <= n2 ? less : more;
    *keep2 = n1 <= n2 ? more : less;
}

size_t tokenizer_windows(size_t n, size_t max, size_t stride)
{
    assert(stride < max);
    size_t step = max - stride;
    return n <= max ? 1 : 1 + (n - max + step - 1) / step;
}

struct tokenizer_window tokenizer_window(size_t n, size_t max, size_t stride,
                                         bool from_left, size_t i)
{
    size_t moved = i * (max - stride);
    size_t end = moved < n ? n - moved : 0;
    if (!from_left)
        return (struct tokenizer_window){moved, end > max ? moved + max : moved + end};
    return (struct tokenizer_window){end > max ? end - max : 0, end};
}
