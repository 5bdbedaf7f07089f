/* Fuzz target: one config.json. What is accepted must keep the promises of config.h. */
#include "model/base/mem.h"
#include "model/load/config.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check(const struct config *c)
{
    assert(c->vocab > 0 && c->width > 0 && c->n_layers > 0 && c->n_layers <= 512);
    assert(c->bos_id >= -1 && c->bos_id < (int64_t)c->vocab);
    assert(c->eos_id >= -1 && c->eos_id < (int64_t)c->vocab);
    assert(c->pad_id >= -1 && c->pad_id < (int64_t)c->vocab);
    assert((c->head == HEAD_LABELS) == (c->n_labels > 0));
    for (size_t i = 0; i < c->n_labels; i++)
        assert(c->labels[i][0] != '\0');
    if (c->arch == ARCH_RNN) {
        assert(c->hidden > 0 && c->n_layers <= 16);
        assert(c->head == HEAD_LABELS || !c->bidirectional);
        assert((c->pooling == POOL_ATTENTION) == (c->attention_size > 0 && c->hops > 0));
    } else {
        assert(c->n_heads > 0 && c->width % c->n_heads == 0);
        assert(c->context > 0 && c->mlp_width > 0 && c->norm_eps > 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct config c = {0};
    struct err err = {0};
    char *text = mem_alloc(n, 1);
    if (!text)
        return 0;
    if (n > 0)
        memcpy(text, data, n);
    if (config_parse(text, n, &c, &err) == ERR_OK)
        check(&c);
    else
        assert(err.msg[0] != '\0');
    config_done(&c);
    mem_free(text);
    return 0;
}
