"""A finding, and how findings write durations."""

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from .. import stages
from ..histograms import Summary
from .account import Account

NAMES: Final = {stages.HTTP: "HTTP", stages.CSTORE: "C-STORE"}


class Finding(msgspec.Struct, frozen=True):
    """Something that stands out. `kind` is "problem" or "remark"; `advice` is empty where there is nothing to do."""

    name: str
    kind: str
    text: str
    advice: str


Look = Callable[[Account], Iterator[Finding]]
"""Looks for one kind of finding."""


def summary_of(account: Account, protocol: str, name: str) -> Summary:
    """Return what the durations under (protocol, name) say; all zero if there are none."""
    return account.histogram(protocol, name).summary()


def in_ms(microseconds: float) -> str:
    """Return a duration in milliseconds, for a sentence."""
    milliseconds = microseconds / 1000
    return f"{milliseconds:.0f} ms" if milliseconds >= 100 else f"{milliseconds:.1f} ms"
