"""Ours beside the peers of the same call, from gpu_check's logs: one line a workload, rates as ratios.

    python bench/gpu_ratios.py LOGS
"""
import json
import pathlib
import re
import sys

LINE = re.compile(r"^(?:batch )?(\d+)( x\d+)?(?: users?)?\s.* ([\d.]+) req/s")
NAMES = {"bert": "bench-bert*.log", "gpt2": "bench-gpt2-[0-9]*.log", "t5": "bench-t5-*.log"}


def main():
    logs = pathlib.Path(sys.argv[1])
    ours = {}
    for name, pattern in NAMES.items():
        for log in sorted(logs.glob(pattern)):
            for line in log.read_text(encoding="utf-8").splitlines():
                if found := LINE.match(line):
                    ours[name, int(found[1]), found[2] is not None] = float(found[3])
    for line in (logs / "peers.log").read_text(encoding="utf-8").splitlines():
        if not line.startswith('{"peer"'):
            continue
        peer = json.loads(line)
        rate = ours.get((peer["model"], peer["batch"], "two in flight" in peer["peer"]))
        if rate is not None:
            print(f"{peer['model']:5} {peer['batch']:5}  ours {rate:10.1f}/s  {peer['peer']} {peer['per_s']:10.1f}/s  ratio {rate / peer['per_s']:.2f}")


if __name__ == "__main__":
    main()
