"""Comparisons with the stored answers of the real libraries."""

import json
import math

import pytest

from server import HERE

SCORE = 1e-4


def close(a, b, tolerance=SCORE):
    return math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance)


def assert_scored(got, want, keys):
    """The same rows in the same order: `keys` exactly, scores within the tolerance."""
    assert [[row[key] for key in keys] for row in got] == [[row[key] for key in keys] for row in want]
    for one, other in zip(got, want):
        assert close(one["score"], other["score"]), (one, other)


def cases(name):
    return [pytest.param(case, id=f"{name}-{i}") for i, case in enumerate(json.loads((HERE / f"expected/{name}.json").read_text(encoding="utf-8")))]


def assert_vectors(got, want, tolerance=1e-4):
    assert len(got) == len(want)
    for one, other in zip(got, want):
        if isinstance(one, list):
            assert_vectors(one, other, tolerance)
        else:
            assert close(one, other, tolerance), (one, other)
