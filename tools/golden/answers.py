"""What a pipeline answers, as plain JSON values."""


def plain(value):
    """A copy of lists, dictionaries, numbers and strings: tuples become lists, arrays' and tensors' scalars Python's."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value.item() if hasattr(value, "item") else value
