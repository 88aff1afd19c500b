"""Runs the real tokenizers and ours side by side over many generated texts; any difference is an error.

    python tools/golden/compare_live.py --dump build/release/bin/tokenizer_dump --lines 1000000 [--only NAME ...]

The lines are spread evenly over the variants of tests/text/data. Compares ids, offsets (fast classes) and both decodings.
Reference and dump run in parallel, one process each, in blocks of 20,000 lines.
"""

import argparse
import collections
import struct
import subprocess
import sys
import tempfile

from make_tokenizers import DATA, decoded
import tokenizer_corpus
import tokenizer_variants

BLOCK = 20_000
BATCH = 1_000
SKIPPED = 77  # what ctest takes for "not run"


def start_dump(command, texts):
    inputs, outputs = tempfile.TemporaryFile(), tempfile.TemporaryFile()
    for text in texts:
        inputs.write(struct.pack("<I", len(text)) + text)
    inputs.seek(0)
    return subprocess.Popen(command, stdin=inputs, stdout=outputs), outputs


def read_answers(outputs):
    outputs.seek(0)
    data, at = outputs.read(), 0

    def take(kind, count):
        nonlocal at
        values = struct.unpack_from(f"<{count}{kind}", data, at)
        at += 4 * count
        return list(values)

    def take_text():
        nonlocal at
        size = take("I", 1)[0]
        at += size
        return data[at - size:at].decode("utf-8")

    while at < len(data):
        count = take("I", 1)[0]
        yield {"i": take("i", count), "o": take("i", 2 * count), "d": take_text(), "e": take_text()}


def refused(tokenizer, text):
    """The reference gives up on some texts with any kind of exception, Rust's panics (no Exception) included."""
    try:
        return expected_of(tokenizer, [text])[0]
    except KeyboardInterrupt:
        raise
    except BaseException:
        return None


def expected_of(tokenizer, block):
    """Answers of the real library; the fast classes take the whole block at once."""
    texts = [text.decode("utf-8", "replace") for text in block]
    if tokenizer.is_fast:
        encodings = tokenizer.backend_tokenizer.encode_batch(texts)
        answers = [{"i": encoding.ids, "o": [x for span in encoding.offsets for x in span]} for encoding in encodings]
    else:
        answers = [{"i": tokenizer.encode(text)} for text in texts]
    return [{**answer, **decoded(tokenizer, answer["i"])} for answer in answers]


def expected(tokenizer, block):
    if not tokenizer.is_fast:
        return [refused(tokenizer, text) for text in block]
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    answers = []
    for start in range(0, len(block), BATCH):
        part = block[start:start + BATCH]
        try:
            answers += expected_of(tokenizer, part)
        except KeyboardInterrupt:
            raise
        except BaseException:
            answers += [refused(tokenizer, text) for text in part]
    return answers


def compare(name, tokenizer, command, texts):
    """Counts of lines: compared, refused by the reference, different. `command` is the dump with its arguments."""
    texts = iter(texts)
    counts = collections.Counter()
    while block := [text for _, text in zip(range(BLOCK), texts)]:
        process, outputs = start_dump(command, block)
        wanted = expected(tokenizer, block)
        if process.wait() != 0:
            sys.exit(f"{name}: {command[0]} failed with status {process.returncode}")
        answers = list(read_answers(outputs))
        assert len(answers) == len(block), (len(answers), len(block))
        for text, want, got in zip(block, wanted, answers):
            if want is None:
                counts["refused"] += 1
                continue
            counts["compared"] += 1
            keys = [key for key in ("i", "o", "d", "e") if key in want and want[key] != got[key]]
            if keys:
                counts["different"] += 1
                if counts["different"] <= 5:
                    print(f"{name}: {keys} differ on {text!r}\n  reference {[want[k] for k in keys]}\n  ours      {[got[k] for k in keys]}")
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dump", required=True)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*")
    options = parser.parse_args()
    try:
        import transformers
    except ImportError:
        print("not compared: transformers is not installed in this Python (tools/requirements.txt)")
        sys.exit(SKIPPED)
    transformers.logging.set_verbosity(transformers.logging.CRITICAL)
    known = tokenizer_variants.load_all()
    names = options.only or sorted(name for name in known if (DATA / name).is_dir())
    total = collections.Counter()
    for index, name in enumerate(names):
        texts = tokenizer_corpus.texts(options.seed * 1000 + index, -(-options.lines // len(names)), known[name].special)
        directory = DATA / name
        counts = compare(name, known[name].load(directory), [options.dump, str(directory)], texts)
        print(f"{name}: {dict(counts)}", flush=True)
        total += counts
    print(f"total: {dict(total)}")
    if total["different"] or total["compared"] < options.lines * 0.95:
        sys.exit(1)


if __name__ == "__main__":
    main()
