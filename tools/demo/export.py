"""Turn trained weights into Hugging Face directories (fp16), through transformers itself.

usage: export.py WORKDIR WEIGHTS_DIR MODELS_DIR      WEIGHTS_DIR holds ner.pt, t5.pt, gpt2.pt
"""
import json
import os
import shutil
import sys

import torch
from transformers import (BertConfig, BertForTokenClassification, BertJapaneseTokenizer, GenerationConfig, GPT2Config, GPT2LMHeadModel,
                          T5Config, T5ForConditionalGeneration, T5Tokenizer)

from build_tokenizers import LABELS
from nets import GPT2, T5, Bert


def weights(path, cls):
    ck = torch.load(path, map_location="cpu")
    net = cls(**ck["cfg"])
    net.load_state_dict({k: v.float() for k, v in ck["ema"].items()})
    return ck["cfg"], net.hf(), ck


def finish(model, tok, out, generation=None):
    """Save model, tokenizer and generation settings; put the tokenizer's own files in order."""
    model.half().save_pretrained(out)
    tok.save_pretrained(out)
    cfg = json.load(open(out + "/config.json"))
    cfg.pop("dtype", None)
    cfg["torch_dtype"] = "float16"
    if cfg["model_type"] == "t5":
        cfg["tie_word_embeddings"] = True
    json.dump(cfg, open(out + "/config.json", "w"), indent=2, ensure_ascii=False)
    open(out + "/config.json", "a").write("\n")
    if generation:
        generation.save_pretrained(out)
    elif os.path.exists(out + "/generation_config.json"):
        os.remove(out + "/generation_config.json")
    for f in os.listdir(out):
        os.chmod(os.path.join(out, f), 0o644)
    print(out, sum(os.path.getsize(os.path.join(out, f)) for f in os.listdir(out)), "bytes")


def load(model, state, optional=()):
    missing, extra = model.load_state_dict(state, strict=False)
    missing = [m for m in missing if not any(o in m for o in optional)]
    assert not missing and not extra, (missing, extra)
    return model.eval()


def main():
    work, src, dst = sys.argv[1:4]
    # entities
    out = dst + "/ner-ja"
    os.makedirs(out, exist_ok=True)
    c, state, _ = weights(src + "/ner.pt", Bert)
    cfg = BertConfig(vocab_size=c["V"], hidden_size=c["d"], num_hidden_layers=c["n"], num_attention_heads=c["h"], intermediate_size=4 * c["d"], max_position_embeddings=c["P"],
                     id2label=dict(enumerate(LABELS)), label2id={x: i for i, x in enumerate(LABELS)}, tokenizer_class="BertJapaneseTokenizer", architectures=["BertForTokenClassification"])
    tok = BertJapaneseTokenizer(work + "/vocab.txt", do_lower_case=False, word_tokenizer_type="mecab", subword_tokenizer_type="wordpiece", mecab_kwargs={"mecab_dic": "ipadic"}, model_max_length=c["P"])
    finish(load(BertForTokenClassification(cfg), state), tok, out)
    # T5
    out = dst + "/style-ja-t5"
    os.makedirs(out, exist_ok=True)
    c, state, _ = weights(src + "/t5.pt", T5)
    cfg = T5Config(vocab_size=c["V"], d_model=c["d"], d_kv=c["dk"], d_ff=c["f"], num_layers=c["ne"], num_decoder_layers=c["nd"], num_heads=c["h"], feed_forward_proj="gated-gelu", tie_word_embeddings=True,
                   decoder_start_token_id=0, pad_token_id=0, eos_token_id=1, dropout_rate=0.0, tokenizer_class="T5Tokenizer", architectures=["T5ForConditionalGeneration"])
    tok = T5Tokenizer(work + "/spiece-t5.model", extra_ids=0, legacy=True, model_max_length=512)
    finish(load(T5ForConditionalGeneration(cfg), state, ("embed_tokens", "lm_head")), tok, out,
           GenerationConfig(decoder_start_token_id=0, pad_token_id=0, eos_token_id=1, max_new_tokens=256))
    shutil.copy(work + "/spiece-t5.model", out + "/spiece.model")
    # GPT-2
    out = dst + "/style-ja-gpt2"
    os.makedirs(out, exist_ok=True)
    c, state, _ = weights(src + "/gpt2.pt", GPT2)
    cfg = GPT2Config(vocab_size=c["V"], n_embd=c["d"], n_layer=c["n"], n_head=c["h"], n_positions=c["P"], bos_token_id=1, eos_token_id=2, pad_token_id=3, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
                     tokenizer_class="T5Tokenizer", architectures=["GPT2LMHeadModel"])
    tok = T5Tokenizer(work + "/spiece-gpt2.model", eos_token="</s>", unk_token="<unk>", pad_token="[PAD]", bos_token="<s>", extra_ids=0, legacy=True, model_max_length=512)
    finish(load(GPT2LMHeadModel(cfg), state, ("lm_head", "attn.bias", "masked_bias")), tok, out, GenerationConfig(bos_token_id=1, eos_token_id=2, pad_token_id=3, max_new_tokens=256))
    shutil.copy(work + "/spiece-gpt2.model", out + "/spiece.model")


if __name__ == "__main__":
    main()
