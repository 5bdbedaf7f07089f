#include "server/api/examples.h"

/* Each file's bytes and a zero behind them; paths are from the root of the repository. */
__asm__(".pushsection .rodata\n"
        ".global examples_next_word, examples_sentiment, examples_attention, "
        "examples_completions\n"
        "examples_next_word: .incbin \"server/api/examples/next_word.json\"\n"
        ".byte 0\n"
        "examples_sentiment: .incbin \"server/api/examples/sentiment.json\"\n"
        ".byte 0\n"
        "examples_attention: .incbin \"server/api/examples/attention.json\"\n"
        ".byte 0\n"
        "examples_completions: .incbin \"server/api/examples/completions.json\"\n"
        ".byte 0\n"
        ".popsection\n");
