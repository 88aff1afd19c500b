"""Makes tests/text/data/<variant>/: a small tokenizer directory and golden.jsonl.gz with what the real libraries answer.

    python tools/golden/make_tokenizers.py [variant ...]

One record per line:
  t  text (b: base64 of its bytes where they are no UTF-8); c  second text (pairs); r  ids to decode instead of a text
  a  false: no special tokens; m  max_length; l  true: truncate left; p  true: typed special tokens are plain text
  i  ids; y  type ids (absent: all 0, null: not known); s  special_tokens_mask (absent: all 0)
  o  offsets in code points, only where known: for each token its start less the previous token's end, then its length
  w  word ids, -1 for none, each less the one before (the first less 0); q  sequence ids, "-" for none (absent: all 0)
  d  decode(skip_special_tokens=True); e  decode(skip_special_tokens=False) (absent: as d)
"""

import argparse
import base64
import gzip
import json
import pathlib
import random
import shutil
import sys
import warnings

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "text" / "data"
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import tokenizer_corpus  # noqa: E402
import tokenizer_variants  # noqa: E402


def choose_options(rng, texts, allow_pair):
    """Most records are plain; the rest cover pairs, truncation and the switches."""
    options = {}
    if allow_pair and rng.random() < 0.12:
        options["c"] = next(texts)
    if rng.random() < 0.12:
        options["m"] = rng.randint(5, 24)
        if rng.random() < 0.4:
            options["l"] = True
    if rng.random() < 0.08:
        options["a"] = False
    if rng.random() < 0.06:
        options["p"] = True
    return options


def reference(tokenizer, fast, data, options):
    """The real library's answer for one text as a record without its inputs."""
    text = data.decode("utf-8", "replace")
    pair = options["c"].decode("utf-8", "replace") if "c" in options else None
    tokenizer.truncation_side = "left" if options.get("l") else "right"
    tokenizer.split_special_tokens = bool(options.get("p"))
    arguments = dict(add_special_tokens=options.get("a", True), return_special_tokens_mask=True)
    if fast or arguments["add_special_tokens"]:  # slow classes refuse to give type ids without special tokens
        arguments["return_token_type_ids"] = True
    if "m" in options:
        arguments.update(truncation="longest_first", max_length=options["m"])
    if fast:
        arguments.update(return_offsets_mapping=True, split_special_tokens=bool(options.get("p")))
    encoding = tokenizer(text, pair, **arguments)
    record = {"i": list(encoding["input_ids"]), "s": "".join(map(str, encoding["special_tokens_mask"]))}
    if "token_type_ids" not in encoding:
        record["y"] = None
    elif any(encoding["token_type_ids"]):
        record["y"] = "".join(map(str, encoding["token_type_ids"]))
    if fast:
        record["o"] = [x for span in encoding["offset_mapping"] for x in span]
        record["w"] = [-1 if w is None else w for w in encoding.word_ids()]
        record["q"] = "".join("-" if q is None else str(q) for q in encoding.sequence_ids())
    return record


def decoded(tokenizer, ids):
    return {"d": tokenizer.decode(ids, skip_special_tokens=True), "e": tokenizer.decode(ids, skip_special_tokens=False)}


def packed(record):
    """The record without what its reader knows anyway, and with small numbers: the files are a third smaller."""
    record = dict(record)
    if "o" in record:
        ends = [0] + record["o"][1::2]
        record["o"] = [x for before, start, end in zip(ends, record["o"][::2], record["o"][1::2]) for x in (start - before, end - start)]
    if "w" in record:
        record["w"] = [word - before for before, word in zip([0] + record["w"], record["w"])]
    for key in ("s", "q"):
        if not record.get(key, "0").strip("0"):
            record.pop(key, None)
    if record["e"] == record["d"]:
        del record["e"]
    return record


def input_of(data):
    try:
        return {"t": data.decode("utf-8")}
    except UnicodeDecodeError:
        return {"b": base64.b64encode(data).decode()}


def slow_offsets(variant, tokenizer, data, options, record):
    """Offsets of a class whose reference has none, where the variant can derive them: plain single texts only."""
    if variant.offsets is None or set(options) - {"a"}:
        return None
    spans = variant.offsets(tokenizer, data.decode("utf-8", "replace"))
    if spans is None:
        return None
    inner = iter(spans)
    flat = [(0, 0) if mask == "1" else next(inner) for mask in record["s"]]
    assert next(inner, None) is None, "more spans than tokens"
    return [x for span in flat for x in span]


def records(variant, tokenizer, count, seed):
    rng = random.Random(seed)
    refused = []
    texts = tokenizer_corpus.texts(seed, 10 * count + 100, variant.special)
    size = len(tokenizer)
    for index in range(count):
        if index % 12 == 11:
            ids = [rng.randrange(size) for _ in range(rng.randint(0, 12))]
            yield {"r": ids, **decoded(tokenizer, ids)}
            continue
        data = next(texts)
        options = choose_options(rng, texts, variant.pair)
        try:
            answer = reference(tokenizer, variant.fast, data, options)
        except Exception as error:  # the reference itself gives up: no golden for this text
            refused.append(f"{data[:40]!r}: {str(error)[:100]!r}")
            continue
        if "m" in options and len(answer["i"]) > options["m"]:
            continue  # slow classes give up truncating and only log it; the product refuses
        spans = slow_offsets(variant, tokenizer, data, options, answer)
        if spans is not None:
            answer["o"] = spans
        inputs = {**input_of(data), **options}
        if "c" in options:
            inputs["c"] = base64.b64encode(options["c"]).decode()
        yield {**inputs, **answer, **decoded(tokenizer, answer["i"])}
    if refused:
        print(f"  {variant.name}: the reference fails on {len(refused)} texts, e.g. {refused[0]}", file=sys.stderr)


def make(variant):
    directory = DATA / variant.name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    variant.build(directory)
    tokenizer = variant.load(directory)
    made = known_offsets = 0
    with open(directory / "golden.jsonl.gz", "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as out:
        for record in records(variant, tokenizer, variant.lines, seed=sum(variant.name.encode())):
            out.write((json.dumps(packed(record), ensure_ascii=False, separators=(",", ":")) + "\n").encode("utf-8", "surrogatepass"))
            made += 1
            known_offsets += "o" in record
    size = sum(path.stat().st_size for path in directory.iterdir())
    print(f"{variant.name}: {type(tokenizer).__name__}, {made} records, {known_offsets} with offsets, {size} bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="*")
    chosen = parser.parse_args().variants
    warnings.filterwarnings("ignore")
    import transformers

    transformers.logging.set_verbosity(transformers.logging.CRITICAL)
    known = tokenizer_variants.load_all()
    for name in chosen or sorted(known):
        make(known[name])


if __name__ == "__main__":
    main()
