"""The differences that are meant, each with its reason. A rule that no longer matches anything fails the run."""

import re

SENTENCE = "sentences are our own"
MISTAKE = "a client's mistake is 400 / INVALID_ARGUMENT, not an internal error"
UNKNOWN_KEY = "what is not known is refused, not ignored"
TIGHTER = "refused instead of read as something else"

# (row, path, reason): regular expressions that must match whole. A status that differs stands for its whole answer.
RULES = [
    # What the set-up makes different.
    (".*", r".*platform|.*backend", "their identity is a Python model"),
    (".*", r".*default_model_filename", "their identity is a Python model"),
    (".*", r"body\.version", "two programs have two versions"),
    (".*: (ServerMetadata|GET /v2)", r"body\.extensions\..*", "CUDA shared memory is not offered; generate and text sequence ids are named"),
    (r"HTTP: GET config of (ensemble|stream_first)", r".*max_inflight_requests", "a newer schema has the field"),
    # Errors and empty answers.
    (".*", r"headers\.content-type", "errors are always application/json; empty answers carry no type; metrics name their format's version"),
    ("HTTP: infer refuses: broken UTF-8", "body.*", "our error is valid JSON"),
    ("HTTP: HEAD .*", "status", "HEAD answers as GET does, without the body"),
    (
        r"HTTP: infer refuses: (not JSON|array|null|trailing text|no inputs|inputs no array|no name|no shape|no datatype|too (few|many) elements|negative dimension|fraction as dimension|shape no array|(text|null) as element"
        r"|data no array|id no text|parameters no object|sequence_id of no kind|priority of no kind|outputs no array)",
        "status",
        MISTAKE,
    ),
    (r"HTTP: (boolean|fraction) as integer", "status", MISTAKE),
    (r"HTTP: classification (-1|'x')", "status", MISTAKE),
    (r"HTTP: generate(_stream)? refuses: (not JSON|array|empty body|input of the wrong kind|object as input|null as input|parameters no object|id no text)", "status", MISTAKE),
    (r"HTTP: logging refuses: (kind|level|format|not JSON|empty)", "status", MISTAKE),
    (r"HTTP: trace setting: (not JSON|empty)", "status", MISTAKE),
    (r"HTTP: index refuses: (not JSON|ready no flag)", "status", MISTAKE),
    (r"HTTP: load refuses: .*", "status", MISTAKE),
    ("gRPC: RepositoryModelLoad: config no JSON", "status", MISTAKE),
    ("gRPC: SystemSharedMemoryRegister", "status", MISTAKE),
    ("gRPC: RepositoryModel(Load|Unload) of ''", "status", "no model has an empty name"),
    # Read more tightly than there.
    (r"HTTP: (logging refuses|trace setting): unknown|gRPC: (LogSettings|TraceSetting): unknown", "status", UNKNOWN_KEY),
    (r"HTTP: (logging|index) refuses: array", "status", "a body that is no object is refused, not ignored"),
    (r"HTTP: integer out of range|gRPC: INT8 out of range", "status", "integers out of their type's range are refused, not truncated"),
    ("HTTP: JSON 150 levels deep", "status", "100 levels at most"),
    (r"HTTP: Inference-Header-Content-Length .*", "status", "a whole number within the body"),
    ("HTTP: gzip that is none", "status", "corrupt compressed data is refused"),
    # Answers.
    ("HTTP: Accept-Encoding gzip, a small answer", ".*", "small answers are not compressed"),
    (r"HTTP: Accept-Encoding \*", ".*", "'*' is any encoding"),
    (r"HTTP: generate of (a decoupled model|an ensemble with a decoupled step)", "status", "a model of several answers is refused before it runs"),
    ("gRPC: stream: decoupled, refused", r"body\[0\]\.infer_response\..*", "a failure names its model and says that it is the last"),
    ("gRPC: stream, gRPC errors: decoupled, refused", "status", "the first error ends such a stream, whatever the model"),
    ("HTTP: CUDA shared memory register|gRPC: CudaSharedMemoryRegister", "status", "CUDA shared memory is not offered"),
    # Statistics and metrics.
    (r"HTTP: statistics of (types|text)|metrics", r".*(fail|reason=).*", "what their Python back end finds wrong is refused here before it is queued, so that no model failed"),
    (r"HTTP: statistics of types|metrics", r".*count.*", "the integer out of range that was refused"),
    ("metrics", r"body\.families\.nv_cache_(insertion_duration|lookup_duration|num_entries|num_evictions|num_hits|num_lookups|num_misses|util)", "newer versions count the cache by model only"),
    ("metrics", r"body\.families\.nv_pinned_memory_pool_.*", "there is no pinned memory pool"),
    ("metrics", r"body\.families\.nv_model_load_duration_secs", "newer versions have it"),
    ("HTTP: statistics of the batches", r".*fail\.count", "requests refused because the queue is full are failures"),
    # Repositories.
    ("HTTP: metadata of the file's config", "body.*", "a load without a config reads the file again, as newer versions do"),
    ("HTTP: load of broken_(dims|empty)", "status", "every mistake in a configuration is answered alike, with its reason"),
    ("HTTP: index after failures", r"body\.spare 1.*", "versions that a later load did not bring are not listed"),
]


class Judge:
    def __init__(self):
        self.rules = [(re.compile(row), re.compile(path), reason) for row, path, reason in RULES]
        self.used = set()
        self.count = 0

    def reason(self, row, path, theirs, ours):
        """Why this difference is meant; None when nobody meant it."""
        if path.endswith(("error", "error_message")) and isinstance(theirs, str) and isinstance(ours, str) and "(absent)" not in (theirs, ours):
            return SENTENCE
        for i, (rows, paths, reason) in enumerate(self.rules):
            if rows.fullmatch(row) and paths.fullmatch(path):
                self.used.add(i)
                self.count += 1
                return reason
        return None

    def unused(self):
        return [f"{row}  {path}: {reason}" for i, (row, path, reason) in enumerate(RULES) if i not in self.used]
