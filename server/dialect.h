/* Dialect: whose words a path speaks in, of errors above all (errors.h). */
#ifndef SERVER_DIALECT_H
#define SERVER_DIALECT_H

/* Errors of the dialects look like this. */
enum dialect {
    DIALECT_SEQD,  /* ours and OpenAI's */
    DIALECT_TEI,   /* Hugging Face's: {"error":"...","error_type":"Validation"}. Overload
                      is 429, never 503: their JavaScript client repeats a 503 at once and
                      for ever */
    DIALECT_OIP,   /* KServe's, versions 1 and 2: {"error":"..."} */
    DIALECT_LLAMA, /* llama.cpp's: {"error":{"code":400,"message","type"}} */
    DIALECT_VLLM,  /* {"error":{"message","type","param","code":400}} */
    DIALECT_COUNT
};

#endif
