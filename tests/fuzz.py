"""Mutated DICOM files through guard and transcoder: `python -m tests.fuzz --minutes 10 [--seed N]`, or `make fuzz`.

Seeds are pydicom's real files and nests of sequences. Held for each: nothing is raised, no reason is an error, a transcoded file is
smaller and says the same pixels to another decoder, the guard takes no longer than the file is large.
"""

from __future__ import annotations

import argparse
import logging
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator

from guard import Guard
from guard import Settings as GuardSettings
from tests.independent import assert_same_elements, assert_same_pixels
from tests.nested_files import NESTS, nested_file
from tests.unit.transcoder.samples import SYNTAX, wheel_files
from transcoder import Reason, Settings, Transcoder

LARGEST_SEED_BYTES = 300_000
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


def seeds() -> dict[str, bytes]:
    """What is mutated, by name."""
    found = {
        name: path.read_bytes() for name, path in wheel_files().items() if path.stat().st_size < LARGEST_SEED_BYTES
    }
    return found | {f"nest: {name}": nested_file(name, 40) for name in NESTS}


def mutants(seed: int) -> Iterator[tuple[str, bytes]]:
    """Endlessly: the name of a seed, and a mutation of it; the same for the same number."""
    chance = random.Random(seed)
    known = seeds()
    names = list(known)
    while True:
        name = chance.choice(names)
        mutant = bytearray(known[name])
        for _ in range(chance.choice((1, 1, 2, 4))):
            _mutate(mutant, chance)
        yield name, bytes(mutant)


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


class Fuzzer:
    """One transcoder for each target, and a guard; counts how files ended."""

    def __init__(self) -> None:
        self.guard = Guard(GuardSettings())
        self.transcoders = [Transcoder(Settings(default=target, maximum_inflated_bytes=1 << 24)) for target in SYNTAX]
        self.ends: Counter[str] = Counter()

    def feed(self, name: str, dicom: bytes, number: int) -> None:
        """One file through all that reads it.

        Raises:
            AssertionError: what is held of every file does not hold.
        """
        before = time.perf_counter()
        refusal = self.guard.refusal(dicom, "http")
        # One step per eight bytes is the worst there can be, at less than 4 microseconds a step on a slow machine, three encodings.
        assert time.perf_counter() - before < 1 + len(dicom) * 2e-6, f"{name}: the guard took too long"
        outcome = self.transcoders[number % len(self.transcoders)].transcode(dicom, "http")
        assert outcome.reason is not Reason.ERROR, f"{name}: {outcome.detail}"
        assert outcome.reason is not Reason.VERIFICATION_FAILED, f"{name}: {outcome.detail}"
        self.ends["refused" if refusal else str(outcome.reason)] += 1
        if outcome.dicom is not None:
            assert len(outcome.dicom) < len(dicom)
            # A second decoder costs a hundred times what the rest does.
            if self.ends[str(outcome.reason)] % 50 == 1:
                assert_same_elements(dicom, outcome.dicom)
                assert_same_pixels(dicom, outcome.dicom)


def main() -> int:
    """Runs until the time is over; the first file that breaks a promise is written beside the seed's number and ends it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    fuzzer, began = Fuzzer(), time.monotonic()
    for number, (name, mutant) in enumerate(mutants(arguments.seed)):
        if time.monotonic() - began > arguments.minutes * 60:
            break
        try:
            fuzzer.feed(name, mutant, number)
        except AssertionError as error:
            path = f"fuzz-{arguments.seed}-{number}.dcm"
            with open(path, "wb") as file:  # noqa: PTH123
                file.write(mutant)
            print(f"input {number}, kept as {path}: {error}", file=sys.stderr)
            return 1
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{fuzzer.ends.total()} inputs, seed {arguments.seed}, peak {peak_mb} MB")
    for end, count in fuzzer.ends.most_common():
        print(f"{count:8} {end}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
