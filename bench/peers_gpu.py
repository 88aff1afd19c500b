"""What PyTorch makes of the same random models on the same GPU, in the same call as ours (development only).

    python bench/peers_gpu.py FOLDER [--seconds 2] [--models bert gpt2 t5]

FOLDER is make_random_models.py's. BERT (bf16, 40 ids a text): transformers eager, and a hand-packed forward (fused projection,
scaled_dot_product_attention, no padding to remove as all texts are equally long) under torch.compile, replayed as a CUDA graph.
GPT-2 medium (f16) and T5-base (bf16), 40 in and 40 out, greedy: transformers eager, and GPT-2 with a static cache under
torch.compile. One line per measurement; answers of the hand-packed BERT are compared with eager's.
"""
import argparse
import json
import pathlib
import time

import torch
import torch.nn.functional as F
import transformers
from transformers import BertForTokenClassification, GPT2LMHeadModel, T5ForConditionalGeneration

IN, OUT = 40, 40


def timed(work, seconds):
    """Median seconds of one call; every call ends with the answers on the host."""
    for _ in range(3):
        work()
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


def report(model, peer, batch, seconds):
    print(json.dumps({"peer": peer, "model": model, "batch": batch, "median_ms": round(seconds * 1e3, 3),
                      "per_s": round(batch / seconds, 1)}), flush=True)


def packed_bert(model):
    """The encoder and the classifier of the first row, on [texts, 40] ids."""
    bert = model.bert
    config = model.config
    heads, width = config.num_attention_heads, config.hidden_size
    layers = []
    for layer in bert.encoder.layer:
        attention = layer.attention.self
        layers.append((torch.cat([attention.query.weight, attention.key.weight, attention.value.weight]),
                       torch.cat([attention.query.bias, attention.key.bias, attention.value.bias]), layer))

    def forward(ids):
        texts = ids.shape[0]
        x = bert.embeddings(input_ids=ids).reshape(texts * IN, width)
        for weight, bias, layer in layers:
            q, k, v = F.linear(x, weight, bias).view(texts, IN, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
            context = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(texts * IN, width)
            out = layer.attention.output
            x = out.LayerNorm(out.dense(context) + x)
            out = layer.output
            x = out.LayerNorm(out.dense(F.gelu(layer.intermediate.dense(x))) + x)
        return model.classifier(x.view(texts, IN, width)[:, 0]).float()

    return forward


def graphed(function, ids):
    """Replays a compiled function on new ids; the answer goes to the host."""
    static = ids.clone()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            function(static)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        answer = function(static)

    def work(host_ids):
        static.copy_(host_ids, non_blocking=True)
        graph.replay()
        return answer.cpu()

    return work


def bert(folder, seconds):
    model = BertForTokenClassification.from_pretrained(folder / "bert-base", dtype=torch.bfloat16).cuda().eval()
    compiled = torch.compile(packed_bert(model), dynamic=False)
    for batch in (1, 16, 64, 1024):
        host = torch.randint(5, 32000, (batch, IN)).pin_memory()
        eager = lambda: model(input_ids=host.cuda(non_blocking=True)).logits[:, 0].float().cpu()
        packed = graphed(compiled, host.cuda())
        expected, got = eager(), packed(host)
        worst = ((got - expected).norm() / expected.norm()).item()
        print(json.dumps({"compared": "bert", "batch": batch, "relative_difference": round(worst, 5)}), flush=True)
        assert worst < 0.03, worst
        report("bert", "eager", batch, timed(eager, seconds))
        report("bert", "packed, compiled, graph", batch, timed(lambda: packed(host), seconds))


def generate(name, model, batches, seconds, compiled):
    for batch in batches:
        ids = torch.randint(5, 32000, (batch, IN)).cuda()
        options = dict(input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, min_new_tokens=OUT,
                       max_new_tokens=OUT, pad_token_id=0)
        report(name, "eager", batch, timed(lambda: model.generate(**options).cpu(), seconds))
        if compiled:
            report(name, "static cache, compiled", batch,
                   timed(lambda: model.generate(**options, cache_implementation="static").cpu(), seconds))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--models", nargs="+", choices=["bert", "gpt2", "t5"], default=["bert", "gpt2", "t5"])
    arguments = parser.parse_args()
    print(json.dumps({"torch": torch.__version__, "transformers": transformers.__version__,
                      "device": torch.cuda.get_device_name()}), flush=True)
    torch.manual_seed(0)
    transformers.logging.set_verbosity_error()
    with torch.inference_mode():
        if "bert" in arguments.models:
            bert(arguments.folder, arguments.seconds)
        if "gpt2" in arguments.models:
            model = GPT2LMHeadModel.from_pretrained(arguments.folder / "gpt2-medium", dtype=torch.float16).cuda().eval()
            generate("gpt2", model, (1, 16, 64), arguments.seconds, True)
        if "t5" in arguments.models:
            model = T5ForConditionalGeneration.from_pretrained(arguments.folder / "t5-base", dtype=torch.bfloat16)
            generate("t5", model.cuda().eval(), (1, 16, 64), arguments.seconds, False)


if __name__ == "__main__":
    main()
