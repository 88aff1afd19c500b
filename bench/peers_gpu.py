"""What PyTorch makes of the same random models on the same GPU, in the same call as ours (development only).

    python bench/peers_gpu.py FOLDER [--seconds 2] [--models bert gpt2 t5] [--answers LOGS]

FOLDER is make_random_models.py's. BERT (bf16, 40 ids a text): transformers eager, and a hand-packed forward (fused projection,
scaled_dot_product_attention, no padding to remove as all texts are equally long) under torch.compile, replayed as a CUDA graph.
GPT-2 medium (f16) and T5-base (bf16), 40 in and 40 out, greedy: transformers eager, and GPT-2 with a static cache under
torch.compile. One line per measurement; answers of the hand-packed BERT are compared with eager's. The hand-packed BERT is
timed as one caller (every answer on the host before the next batch) and with two batches in flight. With --answers ours
(inprocess_bench --answers) are compared with transformers in float32.
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


def in_turn(begin, finish, seconds):
    """Seconds a call when the next has begun before the answer of the last is waited for."""
    begin(0)
    calls, start = 0, time.perf_counter()
    while (now := time.perf_counter()) < start + seconds or calls < 3:
        begin((calls + 1) % 2)
        finish(calls % 2)
        calls += 1
    finish(calls % 2)
    return (now - start) / calls


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

    landings = [torch.empty_like(answer, device="cpu").pin_memory() for _ in range(2)]
    events = [torch.cuda.Event() for _ in range(2)]

    def begin(host_ids, which):
        static.copy_(host_ids, non_blocking=True)
        graph.replay()
        landings[which].copy_(answer, non_blocking=True)
        events[which].record()

    def finish(which):
        events[which].synchronize()

    return work, begin, finish


def bert(folder, seconds):
    model = BertForTokenClassification.from_pretrained(folder / "bert-base", dtype=torch.bfloat16).cuda().eval()
    compiled = torch.compile(packed_bert(model), dynamic=False)
    for batch in (1, 16, 64, 1024):
        host = torch.randint(5, 32000, (batch, IN)).pin_memory()
        eager = lambda: model(input_ids=host.cuda(non_blocking=True)).logits[:, 0].float().cpu()
        packed, begin, finish = graphed(compiled, host.cuda())
        expected, got = eager(), packed(host)
        worst = ((got - expected).norm() / expected.norm()).item()
        print(json.dumps({"compared": "bert", "batch": batch, "relative_difference": round(worst, 5)}), flush=True)
        assert worst < 0.03, worst
        report("bert", "eager", batch, timed(eager, seconds))
        report("bert", "packed, compiled, graph", batch, timed(lambda: packed(host), seconds))
        report("bert", "packed, compiled, graph, two in flight", batch,
               in_turn(lambda which: begin(host, which), finish, seconds))


def generate(name, model, batches, seconds, compiled):
    for batch in batches:
        ids = torch.randint(5, 32000, (batch, IN)).cuda()
        options = dict(input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, min_new_tokens=OUT,
                       max_new_tokens=OUT, pad_token_id=0)
        report(name, "eager", batch, timed(lambda: model.generate(**options).cpu(), seconds))
        if compiled:
            report(name, "static cache, compiled", batch,
                   timed(lambda: model.generate(**options, cache_implementation="static").cpu(), seconds))


def compared(name, difference, bound, **rest):
    """Ours against transformers in float32; `bound` is twice what eager in the same 16-bit type is off by."""
    print(json.dumps({"compared": f"ours, {name}", "difference": round(difference, 5), "bound": round(bound, 5), **rest,
                      "ok": difference <= bound}), flush=True)
    assert difference <= bound, name


def compare_bert(folder, answers, dtype):
    ids = torch.tensor(answers["ids"]).cuda()
    ours = torch.tensor(answers["answers"]).cuda()
    logits = {}
    for kind in (torch.float32, dtype):
        model = BertForTokenClassification.from_pretrained(folder, dtype=kind).cuda().eval()
        logits[kind] = model(input_ids=ids).logits[:, 0].float()
    truth = logits[torch.float32]
    off = lambda other: ((other - truth).norm() / truth.norm()).item()
    compared("bert", off(ours), 2 * off(logits[dtype]))


def compare_tokens(name, model_class, folder, answers, dtype):
    """Each of our tokens must be the best after ours before it, in float32, or fall short by no more than both logits may
    be off: eager's own worst difference in the same 16-bit type, twice."""
    ids = torch.tensor(answers["ids"]).cuda()
    tokens = torch.tensor(answers["answers"]).long().cuda()
    logits = {}
    for kind in (torch.float32, dtype):
        model = model_class.from_pretrained(folder, dtype=kind).cuda().eval()
        if model.config.is_encoder_decoder:
            start = torch.full_like(tokens[:, :1], model.config.decoder_start_token_id)
            out = model(input_ids=ids, decoder_input_ids=torch.cat([start, tokens[:, :-1]], dim=1)).logits
        else:
            out = model(input_ids=torch.cat([ids, tokens[:, :-1]], dim=1)).logits[:, ids.shape[1] - 1:]
        logits[kind] = out.float()
    truth = logits[torch.float32]
    short = truth.max(dim=-1).values - truth.gather(-1, tokens[..., None])[..., 0]
    compared(name, short.max().item(), 2 * (logits[dtype] - truth).abs().max().item(), tokens=tokens.numel(),
             best=int((short == 0).sum()))


def compare_ours(folder, logs):
    kinds = {"bert": ("bert-base", torch.bfloat16), "gpt2": ("gpt2-medium", torch.float16), "t5": ("t5-base", torch.bfloat16)}
    for name, (model, dtype) in kinds.items():
        for path in sorted(logs.glob(f"answers-{name}*.json")):
            answers = json.loads(path.read_text(encoding="utf-8"))
            if name == "bert":
                compare_bert(folder / model, answers, dtype)
            else:
                compare_tokens(name, GPT2LMHeadModel if name == "gpt2" else T5ForConditionalGeneration, folder / model,
                               answers, dtype)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--answers", type=pathlib.Path, help="where inprocess_bench left answers-*.json")
    parser.add_argument("--models", nargs="+", choices=["bert", "gpt2", "t5"], default=["bert", "gpt2", "t5"])
    arguments = parser.parse_args()
    print(json.dumps({"torch": torch.__version__, "transformers": transformers.__version__,
                      "device": torch.cuda.get_device_name()}), flush=True)
    torch.manual_seed(0)
    transformers.logging.set_verbosity_error()
    with torch.inference_mode():
        if arguments.answers:
            compare_ours(arguments.folder, arguments.answers)
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
