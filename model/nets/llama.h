/* Llama: the decoders of Touvron et al. 2023 and their relatives Mistral, Qwen2 and Qwen3
 * in the layout of transformers' LlamaModel (rotary positions, RMS norms, gated MLP,
 * grouped key heads, windows), bare, as language model or as classifier. See decoder.h.
 */
#ifndef SEQ_NETS_LLAMA_H
#define SEQ_NETS_LLAMA_H

#include "model/nets/builder.h"
#include "model/nets/net.h"

/* Fills a struct decoder whose cfg and k are set. On failure b->rc says so; done() cleans
 * up. */
void llama_load(struct net *n, struct builder *b);

#endif
