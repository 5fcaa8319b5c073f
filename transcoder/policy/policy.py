"""Decides about an instance by the first rule that matches. Built once from the settings, it cannot fail later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..input.header import BITS_STORED, MODALITY, PHOTOMETRIC_INTERPRETATION, ROWS, SAMPLES_PER_PIXEL, SOP_CLASS, Header
from ..settings import SECTION, Rule, Settings
from ..syntaxes import SOP_CLASSES, TRANSFER_SYNTAXES, Target
from . import values
from .loss import Loss, loss_of


@dataclass(frozen=True, slots=True)
class Facts:
    """What rules may ask of an instance. None means absent or unreadable, which no condition matches."""

    modality: str | None
    sop_class: str | None
    transfer_syntax: str
    photometric_interpretation: str | None
    origin: str
    bits_stored: int | None
    samples_per_pixel: int | None
    rows: int | None
    frames: int | None
    size_bytes: int


def facts_of(header: Header, *, transfer_syntax: str, origin: str, size_bytes: int) -> Facts:
    """Collect the facts from a scanned header."""
    return Facts(
        modality=header.text(MODALITY),
        sop_class=header.text(SOP_CLASS),
        transfer_syntax=transfer_syntax,
        photometric_interpretation=header.text(PHOTOMETRIC_INTERPRETATION),
        origin=origin,
        bits_stored=header.number(BITS_STORED),
        samples_per_pixel=header.number(SAMPLES_PER_PIXEL),
        rows=header.number(ROWS),
        frames=header.frames(),
        size_bytes=size_bytes,
    )


@dataclass(frozen=True, slots=True)
class Decision:
    """The rule that matched and what it asks for; no target means keep, and a loss is there for lossy targets only."""

    rule: str
    target: Target | None
    loss: Loss | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a rule.

    Attributes:
        key: in the configuration.
        fact: the attribute of `Facts` that it is about.
        wanted: what the fact has to be, in words.
        fulfilled_by: whether a value of the fact fulfils it.
    """

    key: str
    fact: str
    wanted: str
    fulfilled_by: Callable[[Any], bool]

    def __call__(self, facts: Facts) -> bool:
        """Whether it holds."""
        return self.fulfilled_by(getattr(facts, self.fact))


class Policy:
    """The rules in order, then the default."""

    def __init__(self, settings: Settings) -> None:
        """Build the policy.

        Raises:
            ValueError: a setting makes no sense; one line that starts with the path of its key.
        """
        self._default = Decision("Default", values.action(settings.default, f"{SECTION}.Default"))
        self._rules = tuple(_compiled(rule, number) for number, rule in enumerate(settings.rules))
        _refuse_repeated_names([decision.rule for _, decision in self._rules])

    @property
    def targets(self) -> frozenset[Target]:
        """Every lossless target some rule may ask for."""
        decisions = [decision for _, decision in self.rules]
        return frozenset(
            decision.target for decision in decisions if decision.target is not None and decision.loss is None
        )

    @property
    def losses(self) -> frozenset[Loss]:
        """Every loss some rule allows, with its target."""
        return frozenset(decision.loss for _, decision in self.rules if decision.loss is not None)

    @property
    def rules(self) -> tuple[tuple[tuple[Condition, ...], Decision], ...]:
        """Each rule's conditions and what it asks for, in order; the default, which has no conditions, last."""
        return (*self._rules, ((), self._default))

    def decide(self, facts: Facts) -> Decision:
        """The first rule whose conditions all hold, else the default."""
        for conditions, decision in self._rules:
            if all(condition(facts) for condition in conditions):
                return decision
        return self._default


def check(settings: Settings) -> None:
    """Refuse settings that could not be carried out.

    Raises:
        ValueError: one line with the path of the key, its value, what was expected, and the nearest known value.
    """
    Policy(settings)


def _compiled(rule: Rule, number: int) -> tuple[tuple[Condition, ...], Decision]:
    path = f"{SECTION}.Rules[{number}]"
    target = values.action(rule.action, f"{path}.Action", lossy=True)
    decision = Decision(rule.name or f"Rules[{number}]", target, loss_of(target, rule.lossy, path))
    wanted: dict[str, frozenset[object] | None] = {
        "modality": values.codes(rule.modality, f"{path}.Modality"),
        "sop_class": values.uids(rule.sop_class, f"{path}.SopClass", SOP_CLASSES),
        "transfer_syntax": values.uids(rule.transfer_syntax, f"{path}.TransferSyntax", TRANSFER_SYNTAXES),
        "photometric_interpretation": values.codes(
            rule.photometric_interpretation, f"{path}.PhotometricInterpretation"
        ),
        "origin": values.origins(rule.origin, f"{path}.Origin"),
        "bits_stored": values.numbers(rule.bits_stored, f"{path}.BitsStored", 1, 64),
        "samples_per_pixel": values.numbers(rule.samples_per_pixel, f"{path}.SamplesPerPixel", 1, 4),
    }
    conditions = [_one_of(fact, allowed) for fact, allowed in wanted.items() if allowed is not None]
    for fact, key in (("size_bytes", "Bytes"), ("rows", "Rows"), ("frames", "Frames")):
        low: int | None = getattr(rule, f"minimum_{key.lower()}")
        high: int | None = getattr(rule, f"maximum_{key.lower()}")
        values.check_range(low, high, path, key)
        if low is not None or high is not None:
            conditions.append(_between(fact, key, low, high))
    return tuple(conditions), decision


def _one_of(fact: str, allowed: frozenset[object]) -> Condition:
    key = "".join(word.capitalize() for word in fact.split("_"))
    return Condition(key, fact, f"one of {', '.join(sorted(map(str, allowed)))}", lambda value: value in allowed)


def _between(fact: str, key: str, low: int | None, high: int | None) -> Condition:
    def fulfils(value: int | None) -> bool:
        return value is not None and (low is None or value >= low) and (high is None or value <= high)

    wanted = " and ".join(
        text for text, bound in ((f"at least {low}", low), (f"at most {high}", high)) if bound is not None
    )
    return Condition(key, fact, wanted, fulfils)


def _refuse_repeated_names(found: list[str]) -> None:
    seen: set[str] = {"Default"}
    for number, name in enumerate(found):
        if name in seen:
            raise ValueError(f"{SECTION}.Rules[{number}].Name: '{name}': expected a name no other rule has")
        seen.add(name)
