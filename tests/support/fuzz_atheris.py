"""The same checks with inputs chosen by coverage: `make fuzz FUZZER=atheris` (libFuzzer, by atheris).

The corpus grows in var/fuzz/corpus, from which a later run goes on; a file that fails a check is kept as
var/fuzz/crash-*.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import time
import zlib
from pathlib import Path
from types import FrameType

import atheris

with atheris.instrument_imports(include=["guard", "transcoder", "dicom"]):
    from tests.support.fuzz_oracle import Oracle, give_memory_back

from tests.support.fuzz import KEPT, LARGEST_SEED_BYTES, SPICES, seeds, summary

# libFuzzer mutates small files to more effect, and the seeds hold every kind of header below this.
LARGEST_START_BYTES = 40_000


def main() -> int:
    """Runs until the time is over, or to the first file that fails a check: then libFuzzer exits with status 77."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    corpus = prepare(KEPT / "corpus")
    give_memory_back()
    oracle, began = Oracle(), time.monotonic()

    def look_at(dicom: bytes) -> None:
        # The target hangs on the content, so that a kept file shows the same again.
        oracle.feed("input", dicom, zlib.crc32(dicom))
        if time.monotonic() - began > arguments.minutes * 60:
            end(0)

    def end(status: int) -> None:
        print(
            f"seed {arguments.seed}, {len(list(corpus.iterdir()))} files in the corpus; {summary(oracle)}", flush=True
        )
        os._exit(status)  # libFuzzer never returns

    def stopped(_number: int, _frame: FrameType | None) -> None:
        end(0)

    signal.signal(signal.SIGINT, stopped)
    options = [f"-seed={arguments.seed}", f"-max_len={LARGEST_SEED_BYTES}", "-rss_limit_mb=2048", "-timeout=60"]
    options += ["-print_final_stats=0", "-verbosity=0", f"-artifact_prefix={KEPT}/", f"-dict={KEPT / 'words.dict'}"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], look_at)
    atheris.Fuzz()
    return 0


def prepare(corpus: Path) -> Path:
    """The corpus with the seeds in it, and libFuzzer's dictionary beside it."""
    corpus.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(seeds(more=True).values()):
        if len(content) < LARGEST_START_BYTES:
            (corpus / f"seed-{number}").write_bytes(content)
    words = ['"' + "".join(f"\\x{byte:02x}" for byte in spice) + '"\n' for spice in SPICES]
    (KEPT / "words.dict").write_text("".join(words))
    return corpus


if __name__ == "__main__":
    sys.exit(main())
