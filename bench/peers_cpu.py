"""PyTorch eager fp32 on this machine's CPU, for the shapes that our in-process benchmark runs (development only).

Random weights of the exact shapes, so that nothing is downloaded: BERT-base (40 tokens), GPT2-medium and T5-base 1.1 (40 in, 40
out, greedy), each at batch 1 and 16. One JSON line per measurement: best, mean and deviation over the runs, and the rate that
the best means. Use --threads to match ours, and run both in one breath: ratios mean something here, seconds little.
"""
import argparse
import json
import statistics
import time

import torch
import transformers
from transformers import BertConfig, BertModel, GPT2Config, GPT2LMHeadModel, T5Config, T5ForConditionalGeneration

TOKENS_IN = 40
TOKENS_OUT = 40


def bert(batch):
    model = BertModel(BertConfig(vocab_size=32000)).eval()
    ids = torch.randint(5, 32000, (batch, TOKENS_IN))
    mask = torch.ones_like(ids)
    return lambda: model(input_ids=ids, attention_mask=mask)


def gpt2(batch):
    config = GPT2Config(vocab_size=32000, n_embd=1024, n_layer=24, n_head=16, bos_token_id=1, eos_token_id=2)
    model = GPT2LMHeadModel(config).eval()
    ids = torch.randint(5, 32000, (batch, TOKENS_IN))
    return generation(model, ids)


def t5(batch):
    config = T5Config(vocab_size=32128, d_model=768, d_kv=64, d_ff=2048, num_layers=12, num_heads=12,
                      feed_forward_proj="gated-gelu", tie_word_embeddings=False, decoder_start_token_id=0)
    model = T5ForConditionalGeneration(config).eval()
    ids = torch.randint(5, 32000, (batch, TOKENS_IN))
    return generation(model, ids)


def generation(model, ids):
    mask = torch.ones_like(ids)
    return lambda: model.generate(input_ids=ids, attention_mask=mask, do_sample=False, min_new_tokens=TOKENS_OUT,
                                  max_new_tokens=TOKENS_OUT, pad_token_id=0)


def measure(work, runs):
    work()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--models", nargs="+", choices=["bert", "gpt2", "t5"], default=["bert", "gpt2", "t5"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 16])
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    for name in arguments.models:
        for batch in arguments.batches:
            with torch.inference_mode():
                times = measure({"bert": bert, "gpt2": gpt2, "t5": t5}[name](batch), arguments.runs)
            best = min(times)
            print(json.dumps({
                "peer": f"torch {torch.__version__} transformers {transformers.__version__} eager fp32", "model": name,
                "batch": batch, "threads": arguments.threads, "tokens_in": TOKENS_IN,
                "tokens_out": 0 if name == "bert" else TOKENS_OUT, "runs": arguments.runs,
                "best_s": round(best, 5), "mean_s": round(statistics.mean(times), 5),
                "deviation_s": round(statistics.pstdev(times), 5), "sequences_per_s": round(batch / best, 3)}), flush=True)


if __name__ == "__main__":
    main()
