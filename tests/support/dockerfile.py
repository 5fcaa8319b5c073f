"""Reads a Dockerfile as far as ours goes: comments, instructions on one line, variables in braces."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple


class Instruction(NamedTuple):
    """One line: FROM, ARG and so on, and what comes after it."""

    name: str
    rest: str

    @property
    def words(self) -> list[str]:
        """The rest, word by word."""
        return self.rest.split()


def instructions(path: Path) -> list[Instruction]:
    """All of them, in their order."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    found = [Instruction(*line.split(maxsplit=1)) for line in lines]
    assert all(re.fullmatch(r"[A-Z]+", each.name) and not each.rest.endswith("\\") for each in found)
    return found


def arguments(steps: list[Instruction]) -> dict[str, str]:
    """What ARG declares, with its default."""
    return dict(each.rest.split("=", 1) for each in steps if each.name == "ARG")  # type: ignore[arg-type]


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with its ${VARIABLES} replaced; one that is unknown raises KeyError."""
    return re.sub(r"\$\{(\w+)\}", lambda found: values[found[1]], text)
