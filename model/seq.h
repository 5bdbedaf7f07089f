/* seq: from a model folder and a text to numbers. The front door of libseq.a, and the
 * only header of model/ that the server and the tools include.
 *
 * Two nouns. A struct seq_model is immutable after load, counted, and shared by all
 * threads. A struct seq_state is one sequence's memory, with one owner at a time. A
 * struct seq_worker is a thread's scratch memory; each computing thread has its own.
 *
 * The same call gives the same bytes whatever else is in the batch, however many threads
 * help, and whether or not anything is traced.
 *
 * No function prints, exits or reads the clock. Texts are UTF-8 of a given length; NUL
 * bytes are ordinary; invalid UTF-8 is ERR_INPUT. Errors: see base/err.h; on failure an
 * *out is untouched, and arrays of results hold nothing of use. */
#ifndef SEQ_H
#define SEQ_H

#include "model/base/arena.h"
#include "model/base/base64.h"
#include "model/base/breaks.h"
#include "model/base/crew.h"
#include "model/base/err.h"
#include "model/base/json_scan.h"
#include "model/base/mem.h"
#include "model/base/utf8.h"
#include "model/tasks/importance.h"
#include "model/tasks/maps.h"
#include "model/text/token.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct seq_model;
struct seq_state;
struct seq_worker;

/* ---- models ---------------------------------------------------------------------- */

enum seq_task { /* a bit each */
                SEQ_NEXT_WORD = 1,
                SEQ_CLASSIFY = 2, /* served as /v1/sentiment */
                SEQ_ATTENTION = 4,
                SEQ_STATES = 8,      /* has a seq_state */
                SEQ_NEXT_TOKEN = 16, /* for seq_tokenize: SEQ_NEXT_WORD by unit token */
                SEQ_INSPECT = 32,    /* has signals to look at: every model */
                SEQ_IMPORTANCE = 64, /* says something: SEQ_CLASSIFY or SEQ_NEXT_WORD */
                SEQ_EMBED = 128      /* has hidden rows: every model */
};

/* What the scores of a classifier are: shares of 1, each a probability of its own, or the
 * numbers of a regression. */
enum seq_scores { SEQ_SCORES_SOFTMAX, SEQ_SCORES_SIGMOID, SEQ_SCORES_RAW };

enum seq_mask { SEQ_MASK_NONE, SEQ_MASK_CAUSAL, SEQ_MASK_FULL, SEQ_MASK_POOLING };

/* Something that a layer has a value of for each of its units at each step. */
struct seq_signal {
    const char *name;
    float least, most; /* it can't leave these; -INFINITY, INFINITY: no bound */
    bool gate;         /* a share: 0 closed, 1 open */
    bool keeps;        /* the gate by which a cell keeps what it had */
};

/* What is loaded. Strings are owned by the model. */
struct seq_info {
    const char
        *architecture;     /* config.json's own word, "BertForSequenceClassification" */
    const char *family;    /* "lstm", "gru", "rnn", "gpt2", "bert", ... */
    const char *dtype;     /* in the file: "F32", "BF16", "F16", "mixed" */
    const char *kernels;   /* variant in use, "avx2" */
    const char *precision; /* what weights count as: "f32", "bf16", "int8" */
    unsigned tasks;        /* bits of enum seq_task */
    enum seq_mask mask;    /* of its attention maps */
    size_t n_params, file_bytes, resident_bytes;
    size_t vocab, width, n_layers;
    size_t n_map_layers, n_map_heads; /* of attention maps; pooling: 1 layer, R hops */
    size_t map_group; /* so many of these heads, one beside the other, share their keys */
    /* Of recurrent nets gates and states, "h" the last of them; else "hidden" alone. */
    bool recurrent;
    const struct seq_signal *signals;
    size_t n_signals;
    size_t n_state_layers; /* that have them: recurrent n_layers, else one more in front,
                              the embeddings */
    size_t directions;     /* 2: a recurrent net that reads both ways */
    size_t state_width;    /* units of a layer and direction */
    bool lens;             /* the output layer reads rows of any layer: seq_sink, rows */
    size_t context;        /* most tokens of one text incl. specials; 0 = any */
    size_t n_labels;
    const char *const *labels;
    enum seq_scores scores; /* of the labels */
    /* Vectors, see seq_embed: "mean", "max", "cls" or "last_token" of the hidden rows. */
    const char *vector_pooling;
    bool vector_model;     /* it was made for them: modules.json says how */
    bool vector_unit;      /* of length 1 */
    size_t vector_width;   /* floats */
    size_t vector_context; /* as context, for SEQ_EMBED */
    bool pairs;            /* reads two texts as one: seq_tokenize_pair */
    bool word_level;       /* one token is one word */
    /* What stands for the word that SEQ_NEXT_WORD tells, as texts spell it: "[MASK]".
     * NULL unless a masked language model. */
    const char *mask_token;
    /* A batch of so many rows is about as fast per row as any larger one, in which texts
     * would only wait for each other. A text adds a row for each of its tokens, or a
     * single one where `text_rows` is set: it is read token by token, or as much of it as
     * is known already (state_cache_bytes) is not read again. */
    size_t full_rows;
    bool text_rows;
};

struct seq_load_options {
    const char *cpu;       /* kernel variant, NULL = best */
    const char *precision; /* what weights count as: "f32" (NULL), "bf16", "int8" */
    /* What a model with states may hold in memory of texts that seq_next_word has read or
     * seq_generate written, for texts that begin like them: their tokens and the states
     * behind them. Those not asked for the longest go first. Changes no answer, only what
     * it costs; 0 = none. */
    size_t state_cache_bytes;
    size_t threads; /* that read and pack the weights; 0: one */
};

/* Loads a folder with config.json, model.safetensors (or shards) and tokenizer.json.
 * opt may be NULL. The caller owns one reference. ERR_UNSUPPORTED for options that this
 * build or this machine doesn't have. */
enum err_code seq_model_load(const char *dir, const struct seq_load_options *opt,
                             struct seq_model **out, struct err *err) MUST_CHECK;
struct seq_model *seq_model_ref(struct seq_model *m);
void seq_model_unref(struct seq_model *m); /* NULL is fine */
const struct seq_info *seq_model_info(const struct seq_model *m);

/* What seq_next_word and seq_generate have kept and found, see state_cache_bytes. */
struct seq_reuse {
    uint64_t hits, misses; /* texts that began like a known one, or like none */
    uint64_t reused_tokens, computed_tokens; /* of those texts */
    uint64_t evictions;                      /* states that gave way to others */
    uint64_t states, bytes;                  /* held now */
    uint64_t max_bytes;                      /* 0: nothing is kept, all is 0 */
};
/* Any thread. */
void seq_model_reuse(const struct seq_model *m, struct seq_reuse *out);

/* Kernel variants that this machine runs, best first, NULL-terminated. */
const char *const *seq_cpu_names(void);

/* Called once at start, with the variant that models will be loaded with (opt may be
 * NULL). Sets BLAS to one thread; ERR_UNSUPPORTED if the variant computes with BLAS and
 * that one insists on threads of its own, or if this machine lacks the variant. */
enum err_code seq_init(const struct seq_load_options *opt, struct err *err) MUST_CHECK;

/* ---- checking a folder ----------------------------------------------------------- */

/* Who is told what seq_check finds. */
struct seq_check_hooks {
    void *arg;
    /* One sentence about each problem; valid during the call. */
    void (*found)(void *arg, enum err_code code, const char *message);
    /* Nothing was found so far, and the model is being loaded; may be NULL. */
    void (*loading)(void *arg);
};

enum { SEQ_SPECIALS = 7 };

/* A token that plays a part: "bos", "eos", "cls", "sep", "pad", "mask" or "unk". */
struct seq_special {
    const char *name;
    int32_t id;
    const char *piece; /* [n], as the tokenizer's file spells it */
    size_t n;
};

/* What a folder without a problem serves, and what that takes besides the weights. */
struct seq_report {
    struct seq_model *model; /* one reference, the caller's; owns the strings */
    const char *note;        /* why the model has no head, or NULL */
    size_t state_bytes;      /* of one sequence, as long as it may get; 0 = no states */
    size_t scratch_tokens;   /* the longest text; without a limit one of 512 tokens */
    size_t scratch_bytes;    /* of a worker that computes it alone */
    size_t n_specials;
    struct seq_special specials[SEQ_SPECIALS];
};

/* Looks for everything that is wrong with a folder, not only the first thing: in
 * config.json, among the tensors, in the tokenizer's files and between all of these. If
 * nothing is found, the model is loaded as by seq_model_load, which also looks at every
 * number. Returns ERR_OK and fills *out exactly if seq_model_load would succeed, else the
 * first problem found; ERR_NOMEM ends the search. */
enum err_code seq_check(const char *dir, const struct seq_load_options *opt,
                        const struct seq_check_hooks *hooks, struct seq_report *out,
                        struct err *err) MUST_CHECK;

/* ---- workers --------------------------------------------------------------------- */

/* crew may be NULL: nobody helps. Borrowed until seq_worker_free. */
enum err_code seq_worker_new(struct crew *crew, struct seq_worker **out,
                             struct err *err) MUST_CHECK;
void seq_worker_free(struct seq_worker *w);
/* What calls with this worker ask between their parts; borrowed, NULL = nothing. A call
 * that is told to stop returns ERR_STOPPED; the states it was given must be reset. */
void seq_worker_breaks(struct seq_worker *w, const struct breaks *b);
/* Highest number of scratch bytes this worker has used. */
size_t seq_worker_peak(const struct seq_worker *w);

/* ---- texts to tokens ------------------------------------------------------------- */

/* struct seq_token, struct seq_tokens and seq_tokens_done: see text/token.h. */

/* Which end of a text that is too long is kept; USUAL: the end for language models, which
 * predict what follows it, else the start. SEQ_WHOLE refuses it (ERR_LIMIT). */
enum seq_keep { SEQ_KEEP_START, SEQ_KEEP_END, SEQ_KEEP_USUAL, SEQ_WHOLE };

/* The text as the model reads it for `task`: special tokens added; for SEQ_NEXT_WORD none
 * behind the text. Cut to the model's context, less the SEQ_WORD_TOKENS that are searched
 * behind the text for SEQ_NEXT_WORD, keeping the specials. An empty text is fine if the
 * template adds a special token, else ERR_INPUT. Replaces *out, which on failure may be
 * cleared, and is freed by seq_tokens_done in any case.
 *
 * SEQ_NEXT_WORD of a masked language model: the specials behind the text stay, the text
 * must hold exactly one mask token (else ERR_INPUT), which is never cut off. */
enum err_code seq_tokenize(const struct seq_model *m, enum seq_task task,
                           const char *text, size_t n, enum seq_keep keep,
                           struct seq_tokens *out, struct err *err) MUST_CHECK;

/* Two texts as one, by the tokenizer's template; for all tasks but SEQ_NEXT_WORD. What is
 * too long loses tokens of the longer text first, of each at the end that isn't kept.
 * ERR_INPUT, with param "text_pair", unless the model reads pairs. */
enum err_code seq_tokenize_pair(const struct seq_model *m, const char *a, size_t n_a,
                                const char *b, size_t n_b, enum seq_keep keep,
                                struct seq_tokens *out, struct err *err) MUST_CHECK;

/* The whole text with all its special tokens but those behind it, however long it is:
 * what seq_score reads. Replaces *out. */
enum err_code seq_encode(const struct seq_model *m, const char *text, size_t n,
                         struct seq_tokens *out, struct err *err) MUST_CHECK;

/* True if token i goes on with the word of the one before it, as the pre-tokenizer cuts
 * words; one that is spelled with SentencePiece's blank begins a word in any case. */
bool seq_continues_word(const struct seq_model *m, const struct seq_tokens *text,
                        size_t i);

/* The token as tokenizer.json spells it ("Ġmat"), NULL for an unused id; owned by m. */
const char *seq_piece(const struct seq_model *m, int32_t id, size_t *n);
/* The raw bytes the token adds after other tokens (" mat"); may be half a character. */
const char *seq_piece_bytes(const struct seq_model *m, int32_t id, size_t *n);

/* ---- tokenizers alone ------------------------------------------------------------ */

/* The tokenizer of a folder that needs to hold nothing else. Immutable, any thread. */
struct seq_tokenizer;

enum err_code seq_tokenizer_load(const char *dir, struct seq_tokenizer **out,
                                 struct err *err) MUST_CHECK;
void seq_tokenizer_free(struct seq_tokenizer *t);         /* NULL is fine */
size_t seq_tokenizer_size(const struct seq_tokenizer *t); /* highest id + 1 */

/* All tokens of the text, cut nowhere; with `specials` those of the template as well. An
 * empty list is fine. Replaces *out, which on failure may be cleared. */
enum err_code seq_tokenizer_encode(const struct seq_tokenizer *t, const char *text,
                                   size_t n, bool specials, struct seq_tokens *out,
                                   struct err *err) MUST_CHECK;
/* The same of two texts; ERR_UNSUPPORTED without a template for pairs. */
enum err_code seq_tokenizer_encode_pair(const struct seq_tokenizer *t, const char *a,
                                        size_t n_a, const char *b, size_t n_b,
                                        bool specials, struct seq_tokens *out,
                                        struct err *err) MUST_CHECK;

/* The text of ids[0..n), made valid UTF-8: *out, with a zero behind its *out_n bytes, is
 * the caller's (mem_free). ERR_INPUT for an id that isn't 0..size-1; unused ones in
 * between add nothing, nor do special tokens with skip_special. */
enum err_code seq_tokenizer_decode(const struct seq_tokenizer *t, const int32_t *ids,
                                   size_t n, bool skip_special, char **out, size_t *out_n,
                                   struct err *err) MUST_CHECK;

/* As seq_piece. */
const char *seq_tokenizer_piece(const struct seq_tokenizer *t, int32_t id, size_t *n);

/* ---- classification -------------------------------------------------------------- */

/* What makes scores of a text's logits. */
enum seq_activation {
    SEQ_ACTIVATION_OWN, /* as the model's config.json says, see enum seq_scores */
    SEQ_ACTIVATION_NONE,
    SEQ_ACTIVATION_SOFTMAX,
    SEQ_ACTIVATION_SIGMOID
};

/* scores [B,L]. how [B], NULL = the model's own for all. All texts in one ragged batch.
 * ERR_TASK if the model has no classifier. */
enum err_code seq_classify(const struct seq_model *m, struct seq_worker *w, size_t B,
                           const struct seq_tokens *const *texts,
                           const enum seq_activation *how, float *scores,
                           struct err *err) MUST_CHECK;

/* What scores [L] logits [L] are by the model's own activation; one may be the other. */
void seq_activate(const struct seq_model *m, const float *logits, float *scores);

/* ---- vectors --------------------------------------------------------------------- */

/* Whether a vector is divided by its length: as the folder's modules.json says, never, or
 * in any case. */
enum seq_norm { SEQ_NORM_OWN, SEQ_NORM_NONE, SEQ_NORM_UNIT };

struct seq_vector_ask {
    enum seq_norm norm;
    size_t dimensions; /* only the first so many numbers, cut before the norm; 0: all */
};

/* vectors [B,info.vector_width]: what each text's hidden rows behind the last layer (and
 * its norm, where there is one) come to, all tokens counted: their mean, maximum, first
 * or last, as sentence-transformers' files in the folder say, else their mean. ask [B],
 * NULL = the folder's norm and all numbers; what is cut off is 0. Texts of seq_tokenize
 * (SEQ_EMBED) or of ids; all in one ragged batch. ERR_INPUT for an empty text. */
enum err_code seq_embed(const struct seq_model *m, struct seq_worker *w, size_t B,
                        const struct seq_tokens *const *texts,
                        const struct seq_vector_ask *ask, float *vectors,
                        struct err *err) MUST_CHECK;

/* ---- next word ------------------------------------------------------------------- */

enum seq_unit { SEQ_UNIT_TOKEN, SEQ_UNIT_WORD };

enum { SEQ_TOP_MAX = 100, SEQ_WORD_TOKENS = 8, SEQ_WORD_BYTES = 64 };

struct seq_next_request {
    const struct seq_tokens *tokens; /* of seq_tokenize(SEQ_NEXT_WORD) */
    size_t top_k;                    /* 1..SEQ_TOP_MAX */
    enum seq_unit unit;
    /* The beginning of the word being typed, "" = none; without the blank before it.
     * Only words that begin with it are found. UTF-8. */
    const char *prefix;
    size_t prefix_n;
    /* True if blanks stood at the end of the text; seq_tokenize callers take them off
     * first. The words found are the same, their text then comes without its leading
     * blank. (With no text at all words begin without a blank anyway.) */
    bool after_space;
};

/* One prediction. Unit token: exactly one token. Unit word: the most probable spelling of
 * a whole word; logprob is that of its tokens and of a word border behind them. */
struct seq_prediction {
    double logprob;
    size_t n_tokens;
    int32_t tokens[SEQ_WORD_TOKENS];
    size_t n_bytes;
    char bytes[SEQ_WORD_BYTES]; /* text to append, with its blank, or to put in place of
                                   the mask token; valid UTF-8 for words; a token may be
                                   half a character */
};

struct seq_next_result {
    size_t n; /* <= top_k, best first; ties by lower token id */
    struct seq_prediction at[SEQ_TOP_MAX];
};

/* All requests in one ragged batch, word search in lock-step. results [n]. Special tokens
 * and the unknown token are never predicted in unit word; in unit token the distribution
 * is reported as it is.
 *
 * The search follows the best 2 * top_k ways to go on from each beginning of a word (16
 * at least, 128 at most), and keeps the best 128 beginnings, so where that many words are
 * about equally likely it may miss some. While it runs, a request takes about 30 KB, and
 * up to 4 * top_k states (32 at least, 256 at most).
 *
 * A masked language model tells what stands in the mask token's place. Its words are
 * those of one token; parts of words, which unit token shows, are left out. */
enum err_code seq_next_word(const struct seq_model *m, struct seq_worker *w, size_t n,
                            const struct seq_next_request *requests,
                            struct seq_next_result *results, struct err *err) MUST_CHECK;

/* What a request adds to a batch besides its tokens, counted in tokens: its search keeps
 * about as much memory as the states of so many more. */
size_t seq_next_word_cost(const struct seq_model *m, enum seq_unit unit, size_t top_k);

/* The bytes that a predicted token puts into the text: seq_piece_bytes, without the blank
 * in front where it goes in place of a mask token. */
const char *seq_predicted_bytes(const struct seq_model *m, int32_t id, size_t *n);

/* logprob[i] = log p(token i | tokens before it), natural log; logprob[0] = 0. With
 * `closing` >= 0 one more value, logprob[n], of that id after the last token. Memory does
 * not grow with n for recurrent models. Language models only, no masked ones. */
enum err_code seq_score(const struct seq_model *m, struct seq_worker *w,
                        const struct seq_tokens *tokens, int32_t closing, double *logprob,
                        struct err *err) MUST_CHECK;

/* ---- states ---------------------------------------------------------------------- */

enum err_code seq_state_new(const struct seq_model *m, struct seq_state **out,
                            struct err *err) MUST_CHECK;
void seq_state_free(struct seq_state *s);
enum err_code seq_state_copy(struct seq_state *to, const struct seq_state *from,
                             struct err *err) MUST_CHECK; /* of the same model */
void seq_state_reset(struct seq_state *s);
size_t seq_state_bytes(const struct seq_state *s);
size_t seq_state_length(const struct seq_state *s); /* tokens fed */
/* By how much seq_state_bytes grows with n tokens more. */
size_t seq_state_growth(const struct seq_state *s, size_t n);

/* Feeds ids[b][0..n_ids[b]) to states[b] for B sequences, no two the same; logits [B,V]
 * after each one's last token, or NULL if not wanted. ERR_LIMIT past the model's context:
 * states are then untouched. On any other error they must be reset. */
enum err_code seq_feed(const struct seq_model *m, struct seq_worker *w, size_t B,
                       struct seq_state *const *states, const int32_t *const *ids,
                       const size_t *n_ids, float *logits, struct err *err) MUST_CHECK;

/* The top_k (1..SEQ_TOP_MAX) likeliest tokens that logits [V] of seq_feed tell, as
 * seq_next_word by unit token gives them of the same tokens. */
void seq_next_tokens(const struct seq_model *m, const float *logits, size_t top_k,
                     struct seq_next_result *out);

/* ---- generation ------------------------------------------------------------------ */

/* How the next token is chosen from the logits. In this order: `bias` is added;
 * penalties; division by the temperature; top_k, top_p, min_p each keep some of the most
 * probable tokens; one of these is drawn. Zeroed is greedy. */
struct seq_sampling {
    double temperature; /* 0: the most probable token, ties to the lower id; at most 10 */
    size_t top_k;       /* so many, and those that equal the last of them; 0 = all */
    double top_p; /* the fewest that have this share together (Holtzman et al. 2020); at
                     least one; 0 or 1 = all */
    double min_p; /* those with this share of the most probable one's; 0 = all; up to 1 */
    /* Of tokens in the prompt or generated: logits above 0 are divided by it, others
     * multiplied (Keskar et al. 2019). 0 or 1 = none; at most 100. */
    double repetition_penalty;
    /* Of generated tokens: taken off the logit once, and each time; -100 to 100. */
    double presence_penalty, frequency_penalty;
    /* The draws of one generation depend on it and on nothing else. */
    uint64_t seed;
    size_t n_bias; /* each id once; -1000 to 1000, or -INFINITY, which forbids a token */
    const struct seq_bias {
        int32_t id;
        float bias;
    } * bias;
};

enum { SEQ_STOPS_MAX = 16, SEQ_STOP_BYTES = 256, SEQ_TOP_LOGPROBS = 20 };

struct seq_generate_options {
    struct seq_sampling sampling;
    size_t max_tokens; /* 0 computes the prompt only */
    size_t n_stops;    /* texts that end it, and are left out of it; each 1 to
                          SEQ_STOP_BYTES bytes of UTF-8 */
    const struct seq_stop {
        const char *text;
        size_t n;
    } * stops;
    bool ignore_end;      /* goes on behind an end of text */
    bool keep_specials;   /* special tokens, and the end of text, are part of the text */
    bool logprobs;        /* of each generated token, and of the n_top best beside it */
    bool prompt_logprobs; /* the same of the prompt's tokens, but for the first one */
    size_t n_top;         /* 0..SEQ_TOP_LOGPROBS */
};

enum seq_finish {
    SEQ_FINISH_NOT, /* more is to come */
    SEQ_FINISH_END, /* the model's end of text */
    SEQ_FINISH_STOP,
    SEQ_FINISH_LENGTH /* max_tokens, or the model's context is full */
};

/* A token's natural log probability among all of the vocabulary, before anything of
 * seq_sampling. */
struct seq_logprob {
    int32_t id;
    float logprob;
};

struct seq_generated_token {
    struct seq_logprob chosen; /* logprob is NAN where none was asked for */
    size_t n_top;
    const struct seq_logprob *top; /* best first, ties to the lower id */
    size_t text_end; /* bytes of `text`, or of `prompt_text`, that were final when it
                        came, itself included */
};

/* What there is so far; pointers are valid until the next step. */
struct seq_generated {
    enum seq_finish finish;
    size_t n_prompt, n_reused; /* tokens of the prompt, and of these found in the cache */
    const struct seq_generated_token *prompt; /* [n_prompt], NULL unless asked for; the
                                                 first has logprob NAN and no top */
    const char *prompt_text; /* the prompt's tokens decoded, valid UTF-8 */
    size_t n_prompt_text;
    size_t n_tokens;
    const struct seq_generated_token *tokens; /* with the end of text, if it came */
    /* What is final of the text, valid UTF-8 throughout: what may still become a stop
     * text, or half a character, waits. Only ever grows. */
    const char *text;
    size_t n_text;
};

/* A text that is being continued. One owner at a time; freed before its model. */
struct seq_generation;

/* Everything given is copied. The prompt, of seq_tokenize(SEQ_NEXT_WORD) or of ids, must
 * leave room for a token, if one is to come. ERR_TASK if the model is no language model
 * or a masked one, ERR_INPUT for values out of range (param names the field), ERR_LIMIT
 * for a prompt that fills the context. */
enum err_code seq_generation_new(const struct seq_model *m, const int32_t *prompt,
                                 size_t n_prompt, const struct seq_generate_options *opt,
                                 struct seq_generation **out, struct err *err) MUST_CHECK;
void seq_generation_free(struct seq_generation *g); /* NULL is fine */

/* One pass for all of them together, all different and none finished: those that are new
 * read their prompt (from the longest prefix that is known), or the next part of a long
 * one, others their last token; each whose prompt is read gets one token more. What
 * others are in the batch changes no bit. On any error but ERR_INPUT they can only be
 * freed. */
enum err_code seq_generate(const struct seq_model *m, struct seq_worker *w, size_t n,
                           struct seq_generation *const *all, struct err *err) MUST_CHECK;

/* Tokens that its next step reads: what it adds to a batch. */
size_t seq_generation_cost(const struct seq_generation *g);
void seq_generation_view(const struct seq_generation *g, struct seq_generated *out);

/* ---- inspection ------------------------------------------------------------------ */

/* What a row of a map holds for each key: the weight behind the softmax; the scaled score
 * before it; or the length of what the weight brings into the row behind, p * ||W v||
 * with W the head's columns of the output projection (Kobayashi et al. 2020; pooling has
 * no projection: p * ||h||). */
enum seq_map { SEQ_MAP_WEIGHTS, SEQ_MAP_SCORES, SEQ_MAP_VALUE_NORMS };

/* A hidden row: of step `step` behind `layer` layers. */
struct seq_row {
    size_t layer, step;
};

/* Receives what a pass computes, layer by layer; see nets/trace.h. Any hook may be NULL.
 * All pointers are valid during the call only. */
struct seq_sink {
    void *arg;
    enum seq_map map; /* what `row` gets */
    /* The pass ends behind so many layers, unless its result is wanted too, or rows of
     * later ones; 0: all. */
    size_t n_layers;
    /* p [n_keys] of one query row of one head, keys 0..n_keys-1; keys after those are not
     * seen (causal). A key in front of those that is not seen has exactly 0, as a score
     * -INFINITY. Pooling: layer 0, head = hop, query 0. Layers come in order; within a
     * layer any order of heads and queries. */
    void (*row)(void *arg, size_t layer, size_t head, size_t query, size_t n_keys,
                const float *p);
    /* Hidden rows h [n,D] of positions first..first+n-1 after `layer` layers; 0 = the
     * embeddings; the last behind the final norm, if there is one. Transformers only. */
    void (*hidden)(void *arg, size_t layer, size_t first, size_t n, size_t D,
                   const float *h);
    /* One layer and direction of a recurrent net at one step of the text: at[i] [H] is
     * signal i of seq_info. Each direction's steps in the order it reads them. */
    void (*step)(void *arg, size_t layer, size_t direction, size_t step,
                 const float *const *at);
    /* rows [n_rows], in order of layer and step: what the output layer says of them,
     * logits [V] of row i with total, the log of the sum of their exponentials, one by
     * one behind the pass. Of the last layer that is the model's own answer at that
     * step; rows of others go through the final norm and the head's own layers as if
     * they were the last (the "logit lens", nostalgebraist 2020). Takes the memory of
     * these rows. ERR_TASK for models without output layer over the vocabulary, and for
     * layers in front of the last unless seq_info says `lens`. */
    const struct seq_row *rows;
    size_t n_rows;
    void (*logits)(void *arg, size_t i, double total, const float *logits);
};

/* Of a transformer's layer: a query sees keys less than this far away; 0 = any. */
size_t seq_map_window(const struct seq_model *m, size_t layer);

/* One forward pass over one text with the sink attached. If out is not NULL it gets the
 * result of the same pass: the [L] scores of a classifier; of a causal language model the
 * [V] natural log probabilities of the token behind the last one; of others nothing.
 * ERR_TASK if the model has no maps and the sink wants some, or no recurrent layers and
 * it wants steps. */
enum err_code seq_inspect(const struct seq_model *m, struct seq_worker *w,
                          const struct seq_tokens *tokens, const struct seq_sink *sink,
                          float *out, struct err *err) MUST_CHECK;

/* scores [n,L]: as seq_classify, of the text up to each of steps [n], that token
 * included, and the special tokens that close the text. So the last step's are the whole
 * text's. */
enum err_code seq_classify_steps(const struct seq_model *m, struct seq_worker *w,
                                 const struct seq_tokens *tokens, const size_t *steps,
                                 size_t n, float *scores, struct err *err) MUST_CHECK;
/* How many tokens that reads. */
size_t seq_classify_steps_tokens(const struct seq_tokens *tokens, const size_t *steps,
                                 size_t n);

/* Ids as tokens of no text: offsets 0, word -1, special where the vocabulary says so.
 * Appends to *out. ERR_INPUT, naming ids[i], for an id outside the vocabulary; ERR_LIMIT
 * beyond the context. */
enum err_code seq_tokens_of_ids(const struct seq_model *m, const int32_t *ids, size_t n,
                                struct seq_tokens *out, struct err *err) MUST_CHECK;

#endif
