"""Turns any text or exception into one line."""

from __future__ import annotations


def one_line(what: BaseException | str, limit: int | None = None, *, with_type: bool = False) -> str:
    """One line for a log, an answer or a row of a database.

    Args:
        what: Anything. Runs of white space become one space. Bytes that are not UTF-8, as in a folder's name, become
            their escapes.
        limit: Characters at most; the type's name is not counted.
        with_type: Whether the name of an exception's type comes first. It stands alone where the exception has no text.
    """
    line = " ".join(str(what).encode("utf-8", "backslashreplace").decode().split())[:limit]
    if isinstance(what, str):
        return line
    name = type(what).__name__
    if not line:
        return name
    return f"{name}: {line}" if with_type else line
