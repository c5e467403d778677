"""What there is, by name."""

from __future__ import annotations

import click

__all__ = ["command"]


@click.command("list")
@click.argument("kind", type=click.Choice(["methods", "models", "datasets", "recipes"]))
def command(kind: str) -> None:
    """Name the methods, models, data sets or recipes, a line each."""
    if kind == "methods":
        from ignite_kd import heads

        for name in heads.names():
            options = ", ".join(f"{key}={value}" for key, value in heads.options(name).items())
            click.echo(f"{name:<8} {options}")
    elif kind == "recipes":
        from ignite_kd import recipes

        for name in recipes.names():
            click.echo(f"{name:<18} {recipes.get(name).source}")
    else:
        from ignite_kd import data, models

        for name in models.names() if kind == "models" else data.names():
            click.echo(name)
