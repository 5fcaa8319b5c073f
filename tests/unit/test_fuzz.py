"""A short, seeded run of the fuzzer; `make fuzz` runs a long one."""

from __future__ import annotations

import itertools

import pytest

from tests.fuzz import Fuzzer, mutants


@pytest.mark.parametrize("seed", [1, 2])
def test_mutated_files_break_no_promise(seed: int) -> None:
    fuzzer = Fuzzer()
    for number, (name, mutant) in enumerate(itertools.islice(mutants(seed), 600)):
        fuzzer.feed(name, mutant, number)
    assert fuzzer.ends["transcoded"] > 15
    assert fuzzer.ends["refused"] > 10
