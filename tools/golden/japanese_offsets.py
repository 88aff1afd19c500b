"""Expected offsets of BertJapaneseTokenizer with MeCab words, derived from the reference's own steps.

The reference has no offsets. Here they follow from NFKC applied chunk by chunk (a chunk is the shortest stretch that NFKC treats
alone), MeCab's surfaces found in order, and the lengths of the pieces. None where a chunk of several characters becomes several:
the derivation would have to guess inside it.
"""

import unicodedata


def chunks(text):
    """Stretches [start, end) of text that NFKC changes independently of each other."""
    parts = []
    for at, char in enumerate(text):
        if parts:
            start = parts[-1][0]
            before = text[start:at]
            joined = unicodedata.normalize("NFKC", before + char)
            alone = unicodedata.normalize("NFKC", before) + unicodedata.normalize("NFKC", char)
            starter = unicodedata.combining(unicodedata.normalize("NFKD", char)[0]) == 0
            if joined != alone or not starter:
                parts[-1] = (start, at + 1)
                continue
        parts.append((at, at + 1))
    return parts


def normalized(text):
    """NFKC of text and the source range of every character; None where it cannot be known."""
    out, source = "", []
    for start, end in chunks(text):
        piece = unicodedata.normalize("NFKC", text[start:end])
        if end - start > 1 and len(piece) > 1:
            return None
        out += piece
        source += [(start, end)] * len(piece)
    return (out, source) if out == unicodedata.normalize("NFKC", text) else None


def word_spans(surface, at, tokenizer):
    """Character ranges of the pieces of one word that begins at `at` of the normalised text."""
    kind = tokenizer.subword_tokenizer_type if tokenizer.do_subword_tokenize else "none"
    if kind == "none":
        return [(at, at + len(surface))]
    if kind == "character":
        if unicodedata.normalize("NFKC", surface) != surface:
            return None
        return [(at + i, at + i + 1) for i in range(len(surface))]
    spans, cursor = [], 0
    for part in surface.split():
        begin = surface.index(part, cursor)
        cursor = begin + len(part)
        inside = begin
        for token in tokenizer.subword_tokenizer.tokenize(part):
            whole = token == tokenizer.unk_token
            length = len(part) if whole else len(token) - 2 * (inside > begin and token.startswith("##"))
            spans.append((at + inside, at + inside + length))
            inside += length
        assert inside == cursor, (surface, part)
    return spans


def segment_spans(text, tokenizer):
    words = tokenizer.word_tokenizer
    answer = normalized(text) if words.normalize_text else (text, [(i, i + 1) for i in range(len(text))])
    if answer is None:
        return None
    normal, source = answer
    spans, cursor = [], 0
    for node in words.mecab(normal):
        at = normal.index(node.surface, cursor)
        assert not normal[cursor:at].strip(" \t\n\x0b"), (text, node.surface)
        cursor = at + len(node.surface)
        surface = node.surface
        if words.do_lower_case and surface not in words.never_split + tokenizer.all_special_tokens:
            surface = surface.lower()
        if len(surface) != len(node.surface):
            return None
        pieces = word_spans(surface, at, tokenizer)
        if pieces is None:
            return None
        spans += [(min(source[i][0] for i in range(b, e)), max(source[i][1] for i in range(b, e))) for b, e in pieces]
    return spans


def offsets(tokenizer, text):
    if tokenizer.do_lower_case and any(len(c.lower()) != 1 for c in text):
        return None
    if any(t.lstrip or t.rstrip or t.single_word for t in tokenizer.added_tokens_decoder.values()):
        return None
    spans, start = [], 0
    known = tokenizer.added_tokens_encoder
    prepared = text
    if tokenizer.do_lower_case:
        keep = sorted(known, key=len, reverse=True)
        out, at = "", 0
        while at < len(text):
            token = next((k for k in keep if text.startswith(k, at)), None)
            out += token or text[at].lower()
            at += len(token) if token else 1
        prepared = out
    for part in tokenizer.tokens_trie.split(prepared):
        if part in known:
            spans.append((start, start + len(part)))
        elif part:
            inner = segment_spans(part, tokenizer)
            if inner is None:
                return None
            spans += [(start + b, start + e) for b, e in inner]
        start += len(part)
    return spans
