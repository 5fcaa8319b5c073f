"""A short, seeded run of the fuzzer; `make fuzz` runs a long one."""

from __future__ import annotations

import itertools

import pytest

from tests.support.fuzz import mutants
from tests.support.fuzz_oracle import Oracle


@pytest.mark.parametrize("seed", [1, 2])
def test_mutated_files_break_no_promise(seed: int) -> None:
    oracle = Oracle()
    for number, (name, mutant) in enumerate(itertools.islice(mutants(seed), 600)):
        oracle.feed(name, mutant, number)
    assert oracle.ends["transcoded"] > 15
    assert oracle.ends["transcoded with loss"] > 3
    assert oracle.ends["refused"] > 10
