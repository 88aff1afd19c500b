"""What gpu_check measured, from its logs: ours beside the peers of the same call as ratios, and beside what is wanted.

    python bench/gpu_ratios.py LOGS
"""
import json
import pathlib
import re
import sys

LINE = re.compile(r"^(?:batch )?(\d+)( x\d+)?(?: users?)?\s+([\d.]+) ms median.* ([\d.]+) req/s")
HTTP = re.compile(r"^http \S+, \d+ users: ([\d.]+) ms median.* ([\d.]+) req/s")
NAMES = {"bert": "bench-bert*.log", "gpt2": "bench-gpt2-[0-9]*.log", "t5": "bench-t5-*.log", "1b": "bench-gpt-1b.log",
         "text": "bench-gpt2-text.log"}
# Model, rows or users, the most milliseconds or the fewest requests a second (40 ids in and 40 out, one H200).
WANTED = [("bert", 1, "ms", 0.30), ("bert", 16, "ms", 0.42), ("bert", 64, "req/s", 60000), ("bert", 1024, "req/s", 66000),
          ("gpt2", 1, "ms", 32), ("gpt2", 16, "req/s", 450), ("gpt2", 64, "req/s", 1300),
          ("t5", 1, "ms", 26), ("t5", 16, "req/s", 550), ("t5", 64, "req/s", 1600),
          ("1b", 1, "ms", 60), ("1b", 16, "req/s", 220)]
HTTP_BERT, HTTP_SHARE = 12000, 0.85


def lines_of(logs, pattern):
    for log in sorted(logs.glob(pattern)):
        yield from log.read_text(encoding="utf-8").splitlines()


def peers(logs, ours):
    for line in lines_of(logs, "peers.log"):
        if not line.startswith('{"peer"'):
            continue
        peer = json.loads(line)
        rate = ours.get((peer["model"], peer["batch"], "two in flight" in peer["peer"]), (0, None))[1]
        if rate is not None:
            print(f"{peer['model']:5} {peer['batch']:5}  ours {rate:10.1f}/s  {peer['peer']} {peer['per_s']:10.1f}/s  ratio {rate / peer['per_s']:.2f}")


def verdict(met):
    return "met" if met else "MISSED"


def targets(logs, ours):
    for model, count, unit, bound in WANTED:
        if (model, count, False) not in ours:
            print(f"{model:5} {count:5}  not measured")
            continue
        milliseconds, rate = ours[model, count, False]
        more = ours.get((model, count, True))
        if unit == "ms":
            print(f"{model:5} {count:5}  {milliseconds:.3f} ms, wanted <= {bound} ms: {verdict(milliseconds <= bound)}")
        else:
            two = f", two under way {more[1]:.0f}/s" if more else ""
            print(f"{model:5} {count:5}  {rate:.0f}/s{two}, wanted >= {bound}/s: {verdict(max(rate, more[1] if more else 0) >= bound)}")
    http = {name: float(found[2]) for name in ("bert", "gpt2") for line in lines_of(logs, f"http-{name}.log") if (found := HTTP.match(line))}
    if "bert" in http:
        print(f"http  bert   {http['bert']:.0f}/s, wanted >= {HTTP_BERT}/s: {verdict(http['bert'] >= HTTP_BERT)}")
    if "gpt2" in http and ("text", 16, False) in ours:
        share = http["gpt2"] / ours["text", 16, False][1]
        print(f"http  gpt2   {http['gpt2']:.0f}/s, {share:.0%} of in process, wanted >= {HTTP_SHARE:.0%}: {verdict(share >= HTTP_SHARE)}")


def main():
    logs = pathlib.Path(sys.argv[1])
    ours = {}
    for name, pattern in NAMES.items():
        for line in lines_of(logs, pattern):
            if found := LINE.match(line):
                ours[name, int(found[1]), found[2] is not None] = float(found[3]), float(found[4])
    peers(logs, ours)
    targets(logs, ours)


if __name__ == "__main__":
    main()
