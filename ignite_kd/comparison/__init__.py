"""Runs side by side: what they reached, where they differ, and how near they are to their teacher."""

from __future__ import annotations

from ignite_kd.comparison.compare import compare
from ignite_kd.comparison.report import markdown
from ignite_kd.comparison.result import Comparison, Row

__all__ = ["Comparison", "Row", "compare", "markdown"]
