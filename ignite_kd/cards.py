"""The card of a file of weights: what `<file>.json` beside it tells, as long as its checksum is the file's."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

from ignite_kd.errors import UserError
from ignite_kd.files import digest_of

__all__ = ["card_path", "read_card"]


def read_card(path: str | Path) -> dict[str, Any] | None:
    """The card beside the weights in `path`; None where none is, or (with a warning) where it is another file's."""
    beside = card_path(path)
    try:
        card = json.loads(beside.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"cannot read {beside}: {error.strerror}; check its permissions.") from None
    except ValueError:
        card = None
    if not isinstance(card, dict):
        raise UserError(f"{beside} is damaged: it is no JSON object; restore it, or delete it to go on without a card.")
    if card.get("sha256") != digest_of(path):
        warnings.warn(f"{beside} is the card of another file than {path}: the checksums differ.", stacklevel=2)
        return None
    return card


def card_path(path: str | Path) -> Path:
    """Where the card of the weights in `path` is."""
    return Path(f"{path}.json")
