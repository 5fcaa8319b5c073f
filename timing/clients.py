"""Names of clients as labels: a bounded number of them, and printable whatever a peer calls itself."""

from typing import Final

OTHER: Final = "(other)"
"""The label of all clients beyond the bound."""
UNNAMED: Final = "(none)"
"""The label of clients without a name: none was given, it was blank, or they did not come over the network."""
_MAX_LENGTH: Final = 64


def printable(name: str) -> str:
    r"""Return `name` without blanks at its ends, control characters as \xNN, and no longer than 64 characters."""
    stripped = name.strip(" \0")[:_MAX_LENGTH]
    if not stripped:
        return UNNAMED
    if stripped.isprintable():
        return stripped
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in stripped)[:_MAX_LENGTH]


class ClientNames:
    """Gives each of the first `max_names` names a label of its own, and all others one label together.

    First come, first served: a label never goes from one client to another while it is counted. A reset frees them.
    Not thread-safe: the registry's lock guards it.
    """

    def __init__(self, max_names: int) -> None:
        self._max_names = max_names
        self._labels: dict[str, str] = {}

    def label(self, name: str) -> str:
        """Return the label to file `name` under."""
        label = self._labels.get(name)
        if label is not None:
            return label
        label = printable(name)
        if label == UNNAMED:
            return label
        if len(self._labels) >= self._max_names:
            return OTHER
        self._labels[name] = label
        return label

    def clear(self) -> None:
        """Forget all names."""
        self._labels.clear()
