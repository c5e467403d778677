"""Measurements that print a table: ratios and medians of one run."""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["measured_costs"]


def measured_costs() -> dict[str, float]:
    """Method → its time as a share of the student's own step, as `bench heads --json` wrote it."""
    found = json.loads(Path(__file__).with_name("head_costs.json").read_text())
    return {cost["name"]: cost["share"] for cost in found["heads"] if not cost["refused"]}
