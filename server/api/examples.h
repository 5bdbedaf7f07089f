/* Examples: replies of the shipped models to the examples of openapi.json, as JSON. The
 * files in examples/ are written by examples/refresh.py. Constant data; any thread. */
#ifndef SERVER_API_EXAMPLES_H
#define SERVER_API_EXAMPLES_H

extern const char examples_next_word[], examples_sentiment[], examples_attention[],
    examples_completions[], examples_states[], examples_importance[], examples_explain[],
    examples_oip_infer[], examples_session_create[], examples_session_step[],
    examples_embeddings[], examples_embed[];

#endif
