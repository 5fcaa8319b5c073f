"""Reads the values of a rule: makes UIDs and sets of them, or refuses them in a line that says what was expected."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from ..settings import KEEP, ORIGINS
from ..syntaxes import LOSSY, LOSSY_TARGETS_BY_KEYWORD, TARGETS_BY_KEYWORD, TRANSFER_SYNTAXES, Target

_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")  # PS3.5 9.1
_MAX_UID_CHARS = 64


def _refusal(path: str, value: object, expected: str, known: Iterable[str] = ()) -> ValueError:
    """One line: path, value, expectation, and the nearest known value when there is one."""
    shown = repr(value if len(str(value)) <= 80 else str(value)[:77] + "...")
    by_fold = {name.casefold(): name for name in known}
    nearest = get_close_matches(str(value).casefold(), by_fold, n=1)
    hint = f", nearest '{by_fold[nearest[0]]}'" if nearest else ""
    return ValueError(f"{path}: {shown}: expected {expected}{hint}")


def action(value: str, path: str, *, lossy: bool = False) -> Target | None:
    """The target an action names; None for Keep.

    Args:
        value: what is configured.
        path: where, for the refusal.
        lossy: whether a lossy target may be named; how much it may lose, `loss.loss_of` reads.

    Raises:
        ValueError: neither Keep nor a target.
    """
    if value == KEEP:
        return None
    uid = TRANSFER_SYNTAXES.get(value, value)
    if lossy and uid in LOSSY_TARGETS_BY_KEYWORD.values():
        return Target(uid)
    if uid in LOSSY:
        beside = f", or with Lossy one of {', '.join(LOSSY_TARGETS_BY_KEYWORD)}" if lossy else ""
        raise _refusal(path, value, f"lossless only: Keep or one of {', '.join(TARGETS_BY_KEYWORD)}{beside}")
    try:
        return Target(uid)
    except ValueError:
        known = (KEEP, *TARGETS_BY_KEYWORD)
        raise _refusal(path, value, f"Keep or one of {', '.join(TARGETS_BY_KEYWORD)}", known) from None


def codes(value: str | tuple[str, ...] | None, path: str) -> frozenset[object] | None:
    """A set of CS values (PS3.5 6.2: at most 16 capitals, digits, spaces and underscores)."""
    if value is None:
        return None
    for one in _listed(value, path):
        if not re.fullmatch(r"[A-Z0-9_ ]{1,16}", one):
            raise _refusal(path, one, "a code of 1 to 16 capitals, digits, spaces or underscores", (one.upper(),))
    return frozenset(_listed(value, path))


def uids(value: str | tuple[str, ...] | None, path: str, known: Mapping[str, str]) -> frozenset[object] | None:
    """A set of UIDs, from UIDs (private ones too) and keywords of PS3.6."""
    if value is None:
        return None
    found: set[object] = set()
    for one in _listed(value, path):
        uid = known.get(one, one)
        if len(uid) > _MAX_UID_CHARS or not _UID.fullmatch(uid):
            raise _refusal(path, one, "a UID or a keyword of PS3.6", known)
        found.add(uid)
    return frozenset(found)


def origins(value: str | tuple[str, ...] | None, path: str) -> frozenset[object] | None:
    """A set of origins."""
    if value is None:
        return None
    for one in _listed(value, path):
        if one not in ORIGINS:
            raise _refusal(path, one, f"one of {', '.join(ORIGINS)}", ORIGINS)
    return frozenset(_listed(value, path))


def numbers(value: int | tuple[int, ...] | None, path: str, low: int, high: int) -> frozenset[object] | None:
    """A set of numbers from ``low`` to ``high``."""
    if value is None:
        return None
    listed = value if isinstance(value, tuple) else (value,)
    if not listed:
        raise _refusal(path, [], "at least one value")
    for one in listed:
        if not low <= one <= high:
            raise _refusal(path, one, f"a number from {low} to {high}")
    return frozenset(listed)


def check_range(low: int | None, high: int | None, path: str, key: str) -> None:
    """Refuse a range that nothing is in."""
    if low is not None and high is not None and low > high:
        raise _refusal(f"{path}.Minimum{key}", low, f"at most Maximum{key}, {high}")


def _listed(value: str | tuple[str, ...], path: str) -> tuple[str, ...]:
    listed = value if isinstance(value, tuple) else (value,)
    if not listed:
        # An empty list would match nothing, and the rule would never apply.
        raise _refusal(path, [], "at least one value")
    return listed
