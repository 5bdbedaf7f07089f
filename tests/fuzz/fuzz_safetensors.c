/* Fuzz target: one safetensors file. What is accepted is also converted, so that a wrong
 * offset reads outside the block, which has exactly the size of the input. */
#include "model/base/mem.h"
#include "model/load/safetensors.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct safetensors s = {0};
    struct err err = {0};
    size_t sum = 0;
    unsigned char *bytes = mem_alloc(n, 1);
    if (!bytes)
        return 0;
    if (n > 0)
        memcpy(bytes, data, n);
    enum err_code code = safetensors_parse("fuzz", bytes, n, &s, &err);
    assert((code == ERR_OK) == (err.msg[0] == '\0'));
    for (size_t i = 0; i < s.n; i++) {
        const struct safetensor *t = &s.tensors[i];
        assert(t->begin <= t->end && t->end <= n);
        assert(i == 0 || strcmp(s.tensors[i - 1].name, t->name) < 0);
        sum += t->end - t->begin;
        float *out = dtype_is_float(t->dtype) ? mem_alloc(t->count, sizeof *out) : NULL;
        if (out)
            assert(dtype_to_float(t->dtype, bytes + t->begin, t->count, out) <= t->count);
        mem_free(out);
    }
    assert(sum <= n);
    safetensors_done(&s);
    mem_free(bytes);
    return 0;
}
