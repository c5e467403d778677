import dataclasses

import pytest
import torch

from ignite_kd import models, recipes
from ignite_kd.introduction import introduce
from ignite_kd.plan import Plan
from ignite_kd.session import Session
from ignite_kd.terms import Term
from ignite_kd.weights import save_weights


@pytest.fixture
def plan(tmp_path):
    """A teacher that names the first class always: right on a tenth of the images, as many of each class there are."""
    teacher = models.build("mlp_4", 10)
    with torch.no_grad():
        teacher.fc.weight.zero_()
        teacher.fc.bias.copy_(torch.arange(10.0, 0.0, -1.0))
    save_weights(tmp_path / "teacher.th", teacher.state_dict(), {})
    return Plan(
        student="mlp_8",
        teacher="mlp_4",
        teacher_path=str(tmp_path / "teacher.th"),
        recipe=recipes.get("vid,validation_images=100,decay=0.9,learning_rate=0.5"),
        dataset="shapes",
        samples_per_class=20,
        max_epochs=1,
        terms=(Term("ce"), Term("kd", 0.5), Term("at", 0.0)),
        device="cpu",
        output_dir=str(tmp_path / "run"),
    )


def introduced(session, capsys):
    capsys.readouterr()
    introduce(session)
    lines = capsys.readouterr().out.splitlines()
    return {line.split()[0]: " ".join(line.split()[1:]) for line in lines}


def test_a_run_says_what_learns_what_from_whom(plan, capsys):
    session = Session(plan)
    told = introduced(session, capsys)
    session.close()
    assert told.keys() == {"data", "teacher", "student", "loss", "recipe", "folder"}
    assert told["data"].startswith("shapes: 200 images to learn from, 100 to validate, 10 classes (")
    assert told["teacher"] == f"mlp_4 from {plan.teacher_path}: right on 10.0% of 100 held-out images"
    numbers = 3 * 32 * 32 * 8 + 2 * 8 * 8 + 3 * 2 * 8 + (8 * 10 + 10)  # three layers, their norms, the classes
    assert told["student"].startswith(f"mlp_8, {numbers:,} parameters, on cpu")
    assert told["loss"] == "1 ce + 0.5 kd"
    assert told["recipe"].startswith("vid (learning_rate 0.5, decay 0.9, validation_images 100); quirks")
    assert told["recipe"].endswith("that are on: decay")
    assert told["folder"] == plan.output_dir


def test_what_classmates_share_is_said_once(plan, capsys, tmp_path):
    first = Session(plan)
    second = Session(dataclasses.replace(plan, seed=1, output_dir=str(tmp_path / "second")), beside=first, label="b")
    capsys.readouterr()
    introduce(second)
    told = capsys.readouterr().out
    second.close()
    first.close()
    assert all(line.startswith("[b] ") for line in told.splitlines())
    assert "data  " not in told and "teacher  " not in told and f"folder   {tmp_path / 'second'}" in told
