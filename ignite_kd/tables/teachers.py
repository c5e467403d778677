"""The teachers of a table: files that were given, those that are shipped, else one that is trained."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ignite_kd import recipes
from ignite_kd.cards import accuracy_of, ancestry, read_card, seen_by, spent_on
from ignite_kd.errors import UserError
from ignite_kd.files import digest_of
from ignite_kd.recognise import teacher_name
from ignite_kd.tables.table import TEACHER, Cell, Table
from ignite_kd.tables.trial import Trial, percent

__all__ = ["SHIPPED", "cells_of_teacher", "given", "shipped", "trained_otherwise", "trial_of_file"]

_INDIFFERENT = ("source", "epochs", "evaluation_batch_size", "validate_every", "test_at_end", "keep_epochs")

_CLONE = Path(__file__).parents[2] / "state_dict"
SHIPPED = _CLONE if _CLONE.is_dir() else Path("state_dict")  # an installed copy, called in a clone

# of a card, what a trial keeps
_KEPT = ("recipe", "recipe_changes", "quirks", "which", "epoch", "epochs", "seed", "precision", "command", "versions",
         "earlier", "device", "date", "data", "started_from")  # fmt: skip


def given(files: Iterable[str], wanted: Iterable[str], table: Table) -> dict[str, Path]:
    """The user's files by the networks that are in them."""
    wanted = list(wanted)
    found: dict[str, Path] = {}
    for file in files:
        digest_of(file)  # says what is wrong with a path
        name = teacher_name(file, option="a card beside it")
        if name not in wanted:
            raise UserError(f"--teacher {file} is a {name}, but the cells need {', '.join(wanted) or 'no teacher'}.")
        learned = (read_card(file) or {}).get("dataset")
        if learned not in (None, table.dataset):
            raise UserError(
                f"--teacher {file} learned {learned}, but {table.name} is of {table.dataset}; give another."
            )
        if name in found:
            raise UserError(f"--teacher {found[name]} and --teacher {file} are both a {name}; give one of each.")
        found[name] = Path(file)
    return found


def shipped(name: str, table: Table, folder: Path = SHIPPED) -> Path | None:
    """A file in `state_dict/` whose card says that it is this network, trained on the same images as the table's, and
    that nobody taught it; nor what it started from."""
    recipe = recipes.get(table.teacher_recipe)
    wanted = {"validation": recipe.validation_images, "samples_per_class": table.teacher_samples_per_class}
    wanted |= {"seed": 0, "stratified": True} if recipe.validation_images else {}
    damaged: UserError | None = None
    for path in sorted(folder.glob("*.th")):
        try:
            card = read_card(path)
        except UserError as error:  # of a file that may be another network's
            damaged = error
            continue
        if card is None or (card.get("model"), card.get("dataset")) != (name, table.dataset):
            continue
        splits = [seen.get("split") or {} for seen in seen_by(card)]
        same = all(split.get(key) == value for split in splits for key, value in wanted.items())
        same &= (card.get("quirks") or {}).get("normalisation", "dataset") == recipe.normalisation
        if same and not any(member and member.get("teacher") for member in ancestry(card)):
            return path
    if damaged is not None:  # it may be the one that would do: better put right than days of training
        raise damaged
    return None


def trial_of_file(path: Path, name: str, table: Table, data_dir: str, device: str) -> Trial:
    """The result of a teacher: from its card, else measured now. One of fewer epochs than the table's has their share
    as its scale, so that nobody takes it for the published one; of a file without a card nothing is known."""
    card: dict[str, Any] = read_card(path) or {}
    accuracy = accuracy_of(card, "test")
    # a folder of images may have no test/: then only validation is reported
    if accuracy is None and (table.dataset != "folder" or (Path(data_dir) / "test").is_dir()):
        from ignite_kd.evaluate import evaluate_file

        report = evaluate_file(str(path), dataset=table.dataset, data_dir=data_dir, device=device)
        accuracy = report.results["accuracy"]
    epochs, minutes = spent_on(card)
    record = {"model": name, "file": path.name, "sha256": digest_of(path)}
    record |= {fact: card[fact] for fact in _KEPT if fact in card}
    return Trial(
        table=table.name,
        row=TEACHER,
        column="",  # of each that it teaches
        trial=0,
        epochs=epochs,
        epochs_scale=round(epochs / recipes.get(table.teacher_recipe).epochs, 4) if card.get("epochs") else 1.0,
        accuracy=percent(accuracy),
        best_accuracy=percent(accuracy_of(card | {"which": "best"}, "test")),
        validation_accuracy=percent(accuracy_of(card, "validation")),
        seconds=60 * minutes,
        students=1,
        error=None,
        record=json.loads(json.dumps(record)),
    )


def trained_otherwise(trial: Trial, table: Table) -> bool:
    """Whether a teacher, for all its card tells, began with trained weights or followed another recipe."""
    record, recipe = trial.record, recipes.get(table.teacher_recipe)
    if record.get("started_from"):
        return True
    if record.get("recipe") is None:
        return False
    wanted = {"name": recipe.name} | recipes.changes_of(dataclasses.asdict(recipe))
    there = {"name": record["recipe"]} | (record.get("recipe_changes") or {})
    return any(wanted.get(name) != there.get(name) for name in (wanted.keys() | there.keys()) - set(_INDIFFERENT))


def cells_of_teacher(table: Table, name: str) -> list[Cell]:
    return [Cell(TEACHER, column) for column, about in table.columns.items() if about.teacher == name]
