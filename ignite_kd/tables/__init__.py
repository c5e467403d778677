"""Published tables, and what it takes to fill them again."""

from __future__ import annotations

from ignite_kd.tables.table import Cell, Column, Table, get, names

__all__ = ["Cell", "Column", "Table", "get", "names"]
