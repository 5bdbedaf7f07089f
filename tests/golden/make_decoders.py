"""Makes the decoders of tests/golden/nets; see make_nets.py for what a folder holds.

    python tests/golden/make_decoders.py

Wants transformers 4.51 or later, which has Qwen3. As in make_encoders.py, rows.b [T,D] are
the last hidden rows of a bare model. transformers computes the norms, softmax and rotary
angles of these families in float32 even in a model of doubles.
"""

import json

import torch
import transformers as hf

from make_nets import texts_of, write

SIZES = {"vocab_size": 41, "hidden_size": 24, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 40,
         "max_position_embeddings": 48, "bos_token_id": 1, "eos_token_id": 2}
# Heads 16 wide: frequencies on both sides of every ramp.
WIDE = {**SIZES, "hidden_size": 32, "num_attention_heads": 2, "num_key_value_heads": 1,
        "num_hidden_layers": 1, "max_position_embeddings": 64}
GPT2 = {"vocab_size": 41, "n_positions": 48, "n_layer": 2, "n_embd": 24, "n_head": 4,
        "bos_token_id": 1, "eos_token_id": 2}
LENGTHS = [1, 6, 33, 17]
PAD = 3
LABELS = {"pad_token_id": PAD, "num_labels": 3, "num_hidden_layers": 1}


# ---- one folder ----------------------------------------------------------------------


def randomize(model, generator):
    """Maps that are far from uniform, and no tensor whose absence would mean nothing."""
    with torch.no_grad():
        for key, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            if "embed_tokens" in key or "wte" in key:
                p.copy_(noise * 0.6)
            elif p.dim() > 1:
                p.copy_(noise * 0.3)
            else:
                p.copy_(noise * 0.1 + (0 if key.endswith("bias") else 1))


def run(model, text):
    """All that is expected of one text."""
    ids = torch.tensor([text])
    out = model(ids, output_attentions=True, output_hidden_states=True, use_cache=False)
    last = model.base_model(ids, use_cache=False)[0]
    name = type(model).__name__
    if name.endswith("ForSequenceClassification"):
        result = {"labels": out.logits[0]}
    else:
        result = {"logits": out.logits[0]} if hasattr(out, "logits") \
            else {"rows": last[0]}
    assert len(out.hidden_states) == len(out.attentions) + 1
    result["attention"] = torch.stack(out.attentions)[:, 0]
    result["hidden"] = torch.stack([*out.hidden_states[:-1], last])[:, 0]
    return result


def decoder(name, kind, config, *, lengths=LENGTHS, pads=False, dtype=None,
            change=lambda t: t, say=lambda c: c):
    """kind: class name. change: state dict -> tensors of the file; say: config -> what
    config.json says. pads: texts hold, and end with, the padding token."""
    seed = sum(map(ord, name))
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    make = getattr(hf, kind)
    model = make._from_config(make.config_class(**config), attn_implementation="eager")
    model.eval()
    randomize(model, generator)
    for p in model.parameters() if dtype else []:
        p.data = p.data.to(dtype).float()
    tensors = {k: v.clone() for k, v in model.state_dict().items()}
    if model.config.tie_word_embeddings and kind.endswith(("ForCausalLM", "LMHeadModel")):
        del tensors["lm_head.weight"]  # as save_pretrained does
    tensors = {k: v.to(dtype) if dtype else v for k, v in change(tensors).items()}
    texts = texts_of(lengths, model.config.vocab_size, generator)
    for text in texts[1:] if pads else []:
        text[2] = text[-2] = text[-1] = PAD
    expected = {}
    with torch.no_grad():
        single = [run(model, t) for t in texts]
        model.double()
        for b, text in enumerate(texts):
            for key, value in run(model, text).items():
                error = (value.float() - single[b][key]).abs().max()
                assert error < 2e-5 * value.abs().max(), (name, key, error)
                expected[f"{key}.{b}"] = value
    saved = json.loads(model.config.to_json_string())
    saved["architectures"] = [kind]
    write(name, say(saved), tensors, texts, expected)


# ---- what files of others hold -------------------------------------------------------


def bare(tensors):
    """Without the prefix of the bare model, and with the buffers of old versions."""
    out = {k.removeprefix("model."): v for k, v in tensors.items()}
    out["layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(5)
    return out


def prefixed(tensors):
    return {"model." + k: v for k, v in tensors.items()}


def stored_twice(tensors):
    return {**tensors, "lm_head.weight": tensors["model.embed_tokens.weight"].clone()}


def version_5(config):
    """rope_parameters holds all, rope_theta and rope_scaling are gone."""
    rope = config.pop("rope_scaling") or {"rope_type": "default"}
    config["rope_parameters"] = {**rope, "rope_theta": config.pop("rope_theta")}
    config["dtype"] = config.pop("torch_dtype", config.pop("dtype", "float32"))
    return config


def scaled(name, scaling, **more):
    """Texts well past the original context of 16."""
    say = more.pop("say", lambda c: c)
    decoder(f"llama-rope-{name}", "LlamaForCausalLM",
            {**WIDE, "rope_scaling": scaling, "tie_word_embeddings": True, **more},
            lengths=[1, 60], say=say)


# ---- all of them ---------------------------------------------------------------------


def llamas():
    decoder("llama", "LlamaForCausalLM", {**SIZES, "tie_word_embeddings": True})
    decoder("llama-free", "LlamaForCausalLM",
            {**SIZES, "head_dim": 10, "attention_bias": True, "mlp_bias": True,
             "num_key_value_heads": 4, "hidden_act": "gelu"}, change=bare)
    decoder("llama-one-key-head", "LlamaForCausalLM",
            {**SIZES, "num_key_value_heads": 1, "tie_word_embeddings": True,
             "rms_norm_eps": 1e-2}, change=stored_twice, say=version_5)
    decoder("llama-labels", "LlamaForSequenceClassification", {**SIZES, **LABELS},
            pads=True)
    decoder("llama-multi-label", "LlamaForSequenceClassification",
            {**SIZES, **LABELS, "pad_token_id": None,
             "problem_type": "multi_label_classification"})
    decoder("llama-one-logit", "LlamaForSequenceClassification",
            {**SIZES, **LABELS, "num_labels": 1, "problem_type": "regression"}, change=bare)
    decoder("llama-bare", "LlamaModel", {**SIZES, "num_hidden_layers": 1})
    scaled("linear", {"rope_type": "linear", "factor": 4.0})
    scaled("dynamic", {"type": "dynamic", "factor": 4.0})
    scaled("yarn", {"rope_type": "yarn", "factor": 4.0,
                    "original_max_position_embeddings": 16}, rope_theta=100.0)
    scaled("yarn-all", {"rope_type": "yarn", "factor": 3.0, "beta_fast": 4.0,
                        "beta_slow": 0.5, "attention_factor": 1.2}, say=version_5)
    scaled("llama3", {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                      "high_freq_factor": 4.0, "original_max_position_embeddings": 16},
           rope_theta=100.0)


def relatives():
    window = {**SIZES, "sliding_window": 7}
    decoder("mistral", "MistralForCausalLM", window)
    decoder("mistral-no-window", "MistralForCausalLM",
            {**SIZES, "sliding_window": None, "num_hidden_layers": 1, "head_dim": 8})
    decoder("mistral-labels", "MistralForSequenceClassification", {**window, **LABELS},
            pads=True)
    decoder("mistral-bare", "MistralModel", {**window, "num_hidden_layers": 1},
            change=prefixed)
    upper = {**window, "use_sliding_window": True, "max_window_layers": 1}
    decoder("qwen2", "Qwen2ForCausalLM", {**SIZES, "tie_word_embeddings": True},
            dtype=torch.bfloat16)
    decoder("qwen2-window", "Qwen2ForCausalLM", {**upper, "num_hidden_layers": 3})
    decoder("qwen2-labels", "Qwen2ForSequenceClassification", {**SIZES, **LABELS})
    decoder("qwen2-bare", "Qwen2Model", {**SIZES, "num_hidden_layers": 1})
    decoder("qwen3", "Qwen3ForCausalLM",
            {**SIZES, "head_dim": 8, "tie_word_embeddings": True, "rope_theta": 1e6})
    decoder("qwen3-window", "Qwen3ForCausalLM",
            {**upper, "head_dim": 6, "attention_bias": True}, dtype=torch.float16)
    decoder("qwen3-labels", "Qwen3ForSequenceClassification",
            {**SIZES, **LABELS, "head_dim": 8})
    decoder("qwen3-bare", "Qwen3Model", {**SIZES, "head_dim": 8, "num_hidden_layers": 1})


def gpt2s():
    labels = {"pad_token_id": PAD, "num_labels": 3, "n_layer": 1}
    decoder("gpt2-labels", "GPT2ForSequenceClassification", {**GPT2, **labels}, pads=True)
    decoder("gpt2-multi-label", "GPT2ForSequenceClassification",
            {**GPT2, **labels, "problem_type": "multi_label_classification"})
    decoder("gpt2-one-logit", "GPT2ForSequenceClassification",
            {**GPT2, **labels, "num_labels": 1, "problem_type": "regression",
             "activation_function": "silu"})
    decoder("gpt2-bare", "GPT2Model", {**GPT2, "n_layer": 1})


def main():
    llamas()
    relatives()
    gpt2s()


if __name__ == "__main__":
    main()
