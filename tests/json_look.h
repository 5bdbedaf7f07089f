/* What stands in a reply. Test programs only: what isn't there fails the test. */
#ifndef TESTS_JSON_LOOK_H
#define TESTS_JSON_LOOK_H

#include <check.h>
#include <jansson.h>
#include <math.h>

static inline json_t *at(json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    ck_assert_msg(value != NULL, "no \"%s\"", key);
    return value;
}

static inline json_t *item(json_t *list, size_t i)
{
    json_t *value = json_array_get(list, i);
    ck_assert_msg(value != NULL, "no item %zu", i);
    return value;
}

/* All numbers of nested lists in order, behind the n that `to` [most] has; null is NAN.
 * Returns how many it has then. */
static inline size_t flatten(json_t *value, double *to, size_t n, size_t most)
{
    size_t i;
    json_t *element;
    if (!json_is_array(value)) {
        ck_assert_uint_lt(n, most);
        to[n] = json_is_null(value) ? NAN : json_number_value(value);
        return n + 1;
    }
    json_array_foreach(value, i, element)
    {
        n = flatten(element, to, n, most);
    }
    return n;
}

#endif
