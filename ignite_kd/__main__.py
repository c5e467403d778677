"""`python -m ignite_kd COMMAND`, also installed as `ignite-kd`."""

from __future__ import annotations

from ignite_kd.cli import commands, run

__all__ = ["main"]


def main() -> None:
    run(commands)


if __name__ == "__main__":
    main()
