#include "model/load/config_keys.h"

#include <stdio.h>
#include <string.h>

/* The words of transformers' ACT2FN that mean a function of the kernels. gelu_fast and
 * gelu_accurate are the tanh formula written differently. */
const struct key_choice CONFIG_ACTS[] = {
    {"gelu", ACT_GELU_ERF},
    {"gelu_python", ACT_GELU_ERF},
    {"gelu_new", ACT_GELU_TANH},
    {"gelu_pytorch_tanh", ACT_GELU_TANH},
    {"gelu_fast", ACT_GELU_TANH},
    {"gelu_accurate", ACT_GELU_TANH},
    {"relu", ACT_RELU},
    {"silu", ACT_SILU},
    {"swish", ACT_SILU},
    {"tanh", ACT_TANH},
    {NULL, 0},
};

/* Keys that every config of transformers may hold and that change no answer here: notes,
 * training, generation, the memory and speed of another implementation, the scores that
 * sentence-transformers makes of logits. config.c reads the first block itself. */
static const char *const ANY_FAMILY[] = {
    "architectures",
    "model_type",
    "id2label",
    "num_labels",
    "_num_labels",
    "problem_type",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",

    "_name_or_path",
    "_commit_hash",
    "transformers_version",
    "name_or_path",
    "torch_dtype",
    "dtype",
    "label2id",
    "finetuning_task",
    "task_specific_params",
    "tokenizer_class",
    "prefix",
    "language",
    "license",
    "initializer_range",
    "gradient_checkpointing",
    "use_cache",
    "use_bfloat16",
    "torchscript",
    "return_dict",
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "return_dict_in_generate",
    "tf_legacy_loss",
    "chunk_size_feed_forward",
    "tie_encoder_decoder",
    "cross_attention_hidden_size",
    "_attn_implementation",
    "attn_implementation",
    "_attn_implementation_autoset",
    "xla_device",
    "eos_token_ids",
    "sentence_transformers",
    "sbert_ce_default_activation_function",

    "unk_token_id",
    "sep_token_id",
    "cls_token_id",
    "mask_token_id",
    "decoder_start_token_id",
    "max_length",
    "min_length",
    "do_sample",
    "early_stopping",
    "num_beams",
    "num_beam_groups",
    "diversity_penalty",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
    "repetition_penalty",
    "length_penalty",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "bad_words_ids",
    "num_return_sequences",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "remove_invalid_values",
    "exponential_decay_length_penalty",
    "suppress_tokens",
    "begin_suppress_tokens",
    NULL,
};

/* The rows of a family stand together. */
static const struct config_architecture ARCHITECTURES[] = {
    {"RNNForCausalLM", HEAD_LM, &CONFIG_RNN},
    {"RNNForSequenceClassification", HEAD_LABELS, &CONFIG_RNN},
    {"LSTMForCausalLM", HEAD_LM, &CONFIG_RNN},
    {"LSTMForSequenceClassification", HEAD_LABELS, &CONFIG_RNN},
    {"GRUForCausalLM", HEAD_LM, &CONFIG_RNN},
    {"GRUForSequenceClassification", HEAD_LABELS, &CONFIG_RNN},
    {"GPT2LMHeadModel", HEAD_LM, &CONFIG_GPT2},
    {"GPT2ForSequenceClassification", HEAD_LABELS, &CONFIG_GPT2},
    {"GPT2Model", HEAD_NONE, &CONFIG_GPT2},
    {"LlamaForCausalLM", HEAD_LM, &CONFIG_LLAMA},
    {"LlamaForSequenceClassification", HEAD_LABELS, &CONFIG_LLAMA},
    {"LlamaModel", HEAD_NONE, &CONFIG_LLAMA},
    {"MistralForCausalLM", HEAD_LM, &CONFIG_MISTRAL},
    {"MistralForSequenceClassification", HEAD_LABELS, &CONFIG_MISTRAL},
    {"MistralModel", HEAD_NONE, &CONFIG_MISTRAL},
    {"Qwen2ForCausalLM", HEAD_LM, &CONFIG_QWEN2},
    {"Qwen2ForSequenceClassification", HEAD_LABELS, &CONFIG_QWEN2},
    {"Qwen2Model", HEAD_NONE, &CONFIG_QWEN2},
    {"Qwen3ForCausalLM", HEAD_LM, &CONFIG_QWEN3},
    {"Qwen3ForSequenceClassification", HEAD_LABELS, &CONFIG_QWEN3},
    {"Qwen3Model", HEAD_NONE, &CONFIG_QWEN3},
    {"BertForSequenceClassification", HEAD_LABELS, &CONFIG_BERT},
    {"BertForMaskedLM", HEAD_MASKED_LM, &CONFIG_BERT},
    {"BertForPreTraining", HEAD_MASKED_LM, &CONFIG_BERT},
    {"BertModel", HEAD_NONE, &CONFIG_BERT},
    {"DistilBertForSequenceClassification", HEAD_LABELS, &CONFIG_DISTILBERT},
    {"DistilBertForMaskedLM", HEAD_MASKED_LM, &CONFIG_DISTILBERT},
    {"DistilBertModel", HEAD_NONE, &CONFIG_DISTILBERT},
    {"RobertaForSequenceClassification", HEAD_LABELS, &CONFIG_ROBERTA},
    {"RobertaForMaskedLM", HEAD_MASKED_LM, &CONFIG_ROBERTA},
    {"RobertaModel", HEAD_NONE, &CONFIG_ROBERTA},
    {"XLMRobertaForSequenceClassification", HEAD_LABELS, &CONFIG_XLM_ROBERTA},
    {"XLMRobertaForMaskedLM", HEAD_MASKED_LM, &CONFIG_XLM_ROBERTA},
    {"XLMRobertaModel", HEAD_NONE, &CONFIG_XLM_ROBERTA},
    {"CamembertForSequenceClassification", HEAD_LABELS, &CONFIG_CAMEMBERT},
    {"CamembertForMaskedLM", HEAD_MASKED_LM, &CONFIG_CAMEMBERT},
    {"CamembertModel", HEAD_NONE, &CONFIG_CAMEMBERT},
    {"ElectraForSequenceClassification", HEAD_LABELS, &CONFIG_ELECTRA},
    {"ElectraForMaskedLM", HEAD_MASKED_LM, &CONFIG_ELECTRA},
    {"ElectraForPreTraining", HEAD_NONE, &CONFIG_ELECTRA},
    {"ElectraModel", HEAD_NONE, &CONFIG_ELECTRA},
    {"MPNetForSequenceClassification", HEAD_LABELS, &CONFIG_MPNET},
    {"MPNetForMaskedLM", HEAD_MASKED_LM, &CONFIG_MPNET},
    {"MPNetModel", HEAD_NONE, &CONFIG_MPNET},
    {"ModernBertForSequenceClassification", HEAD_LABELS, &CONFIG_MODERNBERT},
    {"ModernBertForMaskedLM", HEAD_MASKED_LM, &CONFIG_MODERNBERT},
    {"ModernBertModel", HEAD_NONE, &CONFIG_MODERNBERT},
};

const struct config_architecture *config_keys_find(const char *architecture)
{
    for (size_t i = 0; i < CONFIG_COUNT(ARCHITECTURES); i++)
        if (strcmp(ARCHITECTURES[i].name, architecture) == 0)
            return &ARCHITECTURES[i];
    return NULL;
}

static bool is_type(size_t i, const char *model_type)
{
    return strcmp(ARCHITECTURES[i].family->model_type, model_type) == 0;
}

/* "BertModel": what AutoModel makes of a family. */
static bool is_bare(size_t i)
{
    const char *name = ARCHITECTURES[i].name;
    size_t n = strlen(name);
    return n > 5 && strcmp(name + n - 5, "Model") == 0 &&
           ARCHITECTURES[i].head == HEAD_NONE;
}

const struct config_architecture *config_keys_bare(const char *model_type)
{
    for (size_t i = 0; i < CONFIG_COUNT(ARCHITECTURES); i++)
        if (is_type(i, model_type) && is_bare(i))
            return &ARCHITECTURES[i];
    return NULL;
}

/* True for the first row of a family. */
static bool opens_family(size_t i)
{
    return i == 0 || ARCHITECTURES[i].family != ARCHITECTURES[i - 1].family;
}

const char *config_keys_served(const char *model_type, char buf[CONFIG_KEYS_LIST_BYTES])
{
    size_t used = 0, n = CONFIG_COUNT(ARCHITECTURES);
    bool known = false;
    for (size_t i = 0; i < n && model_type; i++)
        known |= is_type(i, model_type);
    for (size_t i = 0; i < n && used < CONFIG_KEYS_LIST_BYTES; i++) {
        if (known ? !is_type(i, model_type) : !opens_family(i))
            continue;
        const char *before = used ? ", " : known ? "" : "the model types ";
        used += (size_t)snprintf(
            buf + used, CONFIG_KEYS_LIST_BYTES - used, "%s%s", before,
            known ? ARCHITECTURES[i].name : ARCHITECTURES[i].family->model_type);
    }
    return buf;
}

static bool is_in(const char *const *list, const char *key)
{
    for (; *list; list++)
        if (strcmp(*list, key) == 0)
            return true;
    return false;
}

bool config_keys_known(const struct config_family *family, const char *key)
{
    for (size_t i = 0; i < family->n_keys; i++)
        if (strcmp(family->keys[i].name, key) == 0)
            return true;
    return is_in(family->irrelevant, key) || is_in(ANY_FAMILY, key);
}

enum err_code config_keys_heads(struct config *c, const char *width_key,
                                const char *heads_key, struct err *err)
{
    if (c->head_width == 0 && c->width % c->n_heads != 0)
        return err_set(err, ERR_MISMATCH, "config.json: %s %zu is no multiple of %s %zu",
                       width_key, c->width, heads_key, c->n_heads);
    if (c->head_width == 0)
        c->head_width = c->width / c->n_heads;
    if (c->n_kv_heads == 0)
        c->n_kv_heads = c->n_heads;
    return ERR_OK;
}
