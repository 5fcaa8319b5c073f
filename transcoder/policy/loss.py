"""How much a rule lets its target lose: a bound on the errors of stored values, which every frame must keep."""

from __future__ import annotations

from dataclasses import dataclass

from ..settings import Lossy
from ..syntaxes import LOSSY_TARGETS_BY_KEYWORD, Target

_BOUNDS = {Target.JPEG_LS_NEAR_LOSSLESS: "MaximumError", Target.JPEG_2000: "MaximumRmsError"}


@dataclass(frozen=True, slots=True)
class Loss:
    """A lossy target and its bound.

    Attributes:
        target: the transfer syntax.
        bound: the largest difference of a stored value for JPEG-LS, the root of the mean squared difference for JPEG
            2000.
        again: whether what was compressed with loss before is compressed once more.
    """

    target: Target
    bound: float
    again: bool = False

    @property
    def text(self) -> str:
        """The bound as it is configured, such as ``MaximumError 2``."""
        return f"{_BOUNDS[self.target]} {self.bound:g}"


def loss_of(target: Target | None, lossy: Lossy | None, path: str) -> Loss | None:
    """What a rule's target may lose; None for Keep and for lossless targets.

    Args:
        target: what the rule's action names.
        lossy: the rule's ``Lossy``.
        path: the rule's own, such as ``IngestTranscoder.Rules[0]``.

    Raises:
        ValueError: a lossy target without ``Lossy`` or the reverse, or the bound of another target; one line.
    """
    if target is None or target not in _BOUNDS:
        if lossy is not None:
            action = "Keep" if target is None else target.keyword
            targets = " or ".join(LOSSY_TARGETS_BY_KEYWORD)
            raise ValueError(f"{path}.Lossy: beside {action}, which loses nothing: expected it beside {targets} only")
        return None
    bounds = {} if lossy is None else {"MaximumError": lossy.maximum_error, "MaximumRmsError": lossy.maximum_rms_error}
    given = {key: bound for key, bound in bounds.items() if bound is not None}
    key = _BOUNDS[target]
    if lossy is None or set(given) != {key}:
        found = "says nothing of it" if lossy is None else f"has {' and '.join(given) or 'no bound'}"
        example = 2 if key == "MaximumError" else 4
        raise ValueError(
            f"{path}.Lossy: {target.keyword} loses information, and the rule {found}: "
            f'expected "Lossy": {{"{key}": {example}}}, or a lossless target'
        )
    return Loss(target, given[key], lossy.again)
