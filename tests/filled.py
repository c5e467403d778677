"""A small table of mine, and what fills it."""

import torch

from ignite_kd import models, tables
from ignite_kd.tables.plans import Machine
from ignite_kd.tables.reproduce import Reproduction
from ignite_kd.weights import save_weights

RECIPE = "vid,epochs={},milestones=2,batch_size=20,validation_images=100,validate_every=2"
MINE = {
    "name": "mine",
    "title": "A table for tests",
    "dataset": "shapes",
    "recipe": RECIPE.format(4),
    "teacher_recipe": RECIPE.format(2),
    "teacher_samples_per_class": 20,
    "columns": {
        "5": {"teacher": "mlp_16", "student": "mlp_8", "samples_per_class": 5},
        "10": {"teacher": "mlp_16", "student": "mlp_8", "samples_per_class": 10},
    },
    "losses": {"student": [], "kd": ["kd:1,temperature=4"], "dist": ["dist:1"]},
    "published": {"student": {"5": 20.0}},
}


def work(table, folder, **options):
    return Reproduction(tables.get(str(table)), folder, Machine(compile="off"), **options)


def fill(table, folder, trials=1, rows=(), columns=("5",), cells=(), **options):
    done = work(table, folder, **options)
    status = done.run(done.table.choose(rows, columns, cells), range(trials))
    return status, {(trial.row, trial.column, trial.trial): trial for trial in done.place.trials()}


def teacher_file(path, seed=0, **card):
    torch.manual_seed(seed)
    model = models.build("mlp_16", num_classes=10)
    save_weights(path, model.state_dict(), {"model": "mlp_16", "num_classes": 10, "dataset": "shapes"} | card)
    return str(path)
