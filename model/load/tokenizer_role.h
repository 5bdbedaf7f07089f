/* Tokenizer_role: the parts that special tokens play in a model's texts, as
 * special_tokens_map.json and tokenizer_config.json name them (mask_token, ...). */
#ifndef SEQ_LOAD_TOKENIZER_ROLE_H
#define SEQ_LOAD_TOKENIZER_ROLE_H

enum tokenizer_role {
    TOKENIZER_MASK,
    TOKENIZER_BOS,
    TOKENIZER_EOS,
    TOKENIZER_UNK,
    TOKENIZER_PAD,
    TOKENIZER_SEP,
    TOKENIZER_CLS,
    TOKENIZER_ROLES /* how many there are */
};

#endif
