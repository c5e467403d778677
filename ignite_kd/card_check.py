"""Whether a card is true of its file: what it tells beside what was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ignite_kd.cards import accuracy_of
from ignite_kd.devices import machine_of

__all__ = ["Check", "allowed"]

_ALIKE, _OTHER = 5e-4, 2e-3  # of an accuracy


def allowed(images: int, alike: bool) -> float:
    """How far apart two accuracies on so many images may be: a rounding decides the odd one otherwise, another number
    format or device (not `alike`) some."""
    return max(_ALIKE if alike else _OTHER, 1.5 / images)


@dataclass
class Check:
    """What of a card was compared, what differs, and what it does not tell."""

    has_card: bool
    compared: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    untold: list[str] = field(default_factory=list)

    def field(self, name: str, told: Any, found: Any, alike: bool | None = None) -> None:
        """Compare one field; `alike` where it is more than the two being equal."""
        if told is None:
            self.untold.append(name)
            return
        self.compared.append(name)
        if not (told == found if alike is None else alike):
            self.differences.append(f"{name} is {told} there, {found} here")

    def accuracy(
        self, card: Mapping[str, Any], part: str, found: float, images: int, precision: str, device: str
    ) -> None:
        """Compare the accuracy on `part`: to the printed digits where it was measured with the same arithmetic."""
        told = accuracy_of(card, part)
        if told is None:
            self.untold.append(f"{part} accuracy")
            return
        one, other = f"{told:.2%}", f"{found:.2%}"
        known = card.get("precision") or precision, machine_of(card.get("device") or device)
        elsewhere = known != (precision, machine_of(device))
        near = elsewhere and abs(told - found) <= allowed(images, alike=False)
        self.field(f"{part} accuracy", one, other, one == other or near)

    def line(self) -> str:
        """The verdict in a line."""
        if not self.has_card:
            return "has no card"
        if self.differences:
            return f"differs from its card: {'; '.join(self.differences)}"
        untold = f"; it does not tell {', '.join(self.untold)}" if self.untold else ""
        return f"matches its card ({', '.join(self.compared)}{untold})"
