"""Whether a card is true of its file: what it tells beside what was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ignite_kd.cards import accuracy_of

__all__ = ["OTHER_ARITHMETIC", "Check"]

OTHER_ARITHMETIC = 2e-3  # of an accuracy: another number format or device decides some images otherwise


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

    def accuracy(self, card: Mapping[str, Any], part: str, found: float, precision: str, device: str) -> None:
        """Compare the accuracy on `part`: to the printed digits where it was measured with the same arithmetic."""
        told = accuracy_of(card, part)
        if told is None:
            self.untold.append(f"{part} accuracy")
            return
        one, other = f"{told:.2%}", f"{found:.2%}"
        same = (card.get("precision") or precision, _machine(card.get("device") or device)) == (
            precision,
            _machine(device),
        )
        self.field(f"{part} accuracy", one, other, one == other if same else abs(told - found) <= OTHER_ARITHMETIC)

    def line(self) -> str:
        """The verdict in a line."""
        if not self.has_card:
            return "has no card"
        if self.differences:
            return f"differs from its card: {'; '.join(self.differences)}"
        untold = f"; it does not tell {', '.join(self.untold)}" if self.untold else ""
        return f"matches its card ({', '.join(self.compared)}{untold})"


def _machine(device: str) -> str:
    """Its name without the number of threads, which decides no image."""
    return device.partition(", ")[0]
