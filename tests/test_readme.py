"""What the read-me says is run: its Python, its flags, its ledger, its command for the tests."""

import importlib
import re
import subprocess
from pathlib import Path

import pytest
import torch
from commands import call
from torch.optim import SGD

import ignite_kd
from ignite_kd import StudentEngine, TeacherEngine, heads, models
from ignite_kd.cli.train_with_transfer import command as with_transfer
from ignite_kd.cli.train_without_transfer import command as without_transfer
from ignite_kd.heads import KD, VID, CrossEntropy
from ignite_kd.recipes import QUIRKS, crd

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def code(word):
    (found,) = [block for block in PYTHON if word in block]
    return found


def batches(n=2):
    return [(torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 3])) for _ in range(n)]


@pytest.fixture
def student():
    model = models.build("wrn_10_1", 10)
    return StudentEngine(model, SGD(model.parameters(), lr=0.01))


def test_the_first_screen_trains(capsys):
    names = {name: getattr(ignite_kd, name) for name in ("TeacherEngine", "StudentEngine", "models")}
    names |= {"CrossEntropy": CrossEntropy, "KD": KD, "VID": VID, "SGD": SGD}
    names |= {"trained": models.build("wrn_10_1", 10), "loader": batches(1)}
    exec(code("student.run(loader").replace("max_epochs=200", "max_epochs=1").replace("wrn_16_1", "wrn_10_1"), names)
    assert names["student"].state.iteration == 1
    assert set(names["student"].state.output["losses"]) == {"ce", "kd", "vid"}


def test_the_head_of_the_read_me_trains_with_its_projection(student):
    names = {}
    exec(code("class Hint"), names)
    TeacherEngine(models.build("wrn_10_2", 10)).attach(student)
    hint = names["Hint"](64, 128)
    before = hint.project.weight.clone()
    handle = hint.attach(student, factor=10.0)
    student.run(batches(), max_epochs=1)
    assert set(student.state.output["losses"]) == {"hint"}
    assert not torch.equal(hint.project.weight, before)
    handle.remove()
    assert not student.heads


def test_the_function_of_the_read_me_is_a_loss(student):
    CrossEntropy().attach(student)
    exec(code("def confident"), {"student": student})
    student.run(batches(1), max_epochs=1)
    assert set(student.state.output["losses"]) == {"ce", "entropy"}


def test_the_tapped_model_of_the_read_me_teaches(student, capsys):
    names = {}
    exec(code("models.tap"), names)
    assert capsys.readouterr().out == "{'layer1': 64, 'layer2': 128, 'layer3': 256, 'pooled': 512}\n"
    TeacherEngine(names["trained"]).attach(student)
    heads.build("vid", student=student.model, teacher=names["trained"]).attach(student)
    student.run(batches(1), max_epochs=1)


def test_the_data_set_of_the_read_me_feeds_a_student(student):
    names = {}
    exec(code("Stream"), names)
    CrossEntropy().attach(student)
    student.run(names["loader"], max_epochs=1)
    assert student.state.iteration == 5


def test_the_history_of_the_read_me_is_mapped(tmp_path, capsys):
    few = "--dataset shapes --samples-per-class 2 --batch_size 10 --epochs 1 --device cpu --keep-epochs 0,1"
    done = call(f"train-teacher --model wrn_10_1 {few} --output-dir", tmp_path / "run")
    assert done.status == 0, done.err
    exec(code("concepts.History").replace("runs/alone", str(tmp_path / "run")), {})
    assert capsys.readouterr().out == "torch.Size([8, 8, 8])\n"


def test_no_python_of_the_read_me_is_left_out():
    assert len(PYTHON) == 6


def test_the_flags_of_its_commands_exist():
    scripts = {"train_with_transfer.py": with_transfer, "train_without_transfer.py": without_transfer}
    text = TEXT.replace("\\\n", " ")
    commands = re.findall(r"^python (train_with\w+\.py) (.*)$", text, re.MULTILINE)
    assert len(commands) == 7
    for script, words in commands:
        assert set(re.findall(r"--[a-z-]+", words)) <= {name for p in scripts[script].params for name in p.opts}
    known = {name for command in scripts.values() for p in command.params for name in p.opts}
    cells = re.findall(r"^\|[^|]*\|([^|]*)\|$", text, re.MULTILINE)
    quoted = " ".join(word for cell in cells for word in re.findall(r"`([^`]*)`", cell))
    mentioned = set(re.findall(r"(?<!\S)\"?(--[a-z-]+)", quoted))
    assert mentioned
    assert mentioned <= known


def test_the_flags_of_the_other_systems_commands_exist():
    text = TEXT.replace("\\\n", " ")
    commands = re.findall(r"^ignite-kd ([a-z-]+) (.*)$", text, re.MULTILINE)
    assert {name for name, _ in commands} == {
        "train-teacher",
        "train-student",
        "train",
        "distill",
        "evaluate",
        "export",
        "compare",
        "reproduce",
        "train-net",
        "distillation",
        "explain",
        "train-sigma",
        "find-knowledge",
    }
    for name, words in commands:
        command = importlib.import_module(f"ignite_kd.cli.{name.replace('-', '_')}").command
        known = {option for parameter in command.params for option in parameter.opts}
        known |= {option.replace("-", "_").replace("__", "--") for option in known}  # both are one
        assert set(re.findall(r"(?<!\S)(--?[A-Za-z][\w-]*)", words)) <= known, name


def test_the_example_reads_the_teacher_that_the_one_before_it_writes(tmp_path, monkeypatch):
    (example,) = re.findall(r"^ignite-kd train-teacher (.*)\n\n.*--path_t (\S+)", TEXT, re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    planned = {}
    monkeypatch.setattr("ignite_kd.launch.launch", lambda plans, _: planned.update(vars(plans[0])) or 0)
    assert call(f"train-teacher {example[0]}").status == 0
    assert planned["state_dict_path"] == example[1]


def test_its_table_of_methods_has_every_method_with_the_benchmarks_factor():
    rows = re.findall(r"^\| `([\w-]+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", TEXT, re.MULTILINE)
    told = {name: factor for name, _, factor, cost in rows if cost.strip().endswith("%")}
    assert list(told) == [name for name in heads.names() if name != "ce"]
    for name, factor in told.items():
        published = crd.factor_of(name)
        if published is None:
            assert factor == "not of the benchmark", name
            continue
        assert float(factor.split()[0].replace("\N{THIN SPACE}", "")) == published, name


def test_the_ledger_has_every_quirk_with_both_values():
    ledger = TEXT.split("## Fidelity")[1]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?\|.*?) \|.*\|$", ledger, re.MULTILINE))
    expected = {name: f"{quirk.paper} | {quirk.released}".lower() for name, quirk in QUIRKS.items()}
    assert {name: values.lower() for name, values in rows.items()} == expected


def test_its_line_for_the_tests_is_what_ci_calls():
    block = TEXT.split("<!-- tests -->\n")[1].split("```")[1]
    (extraction,) = [line for line in (ROOT / ".ci" / "run").read_text().splitlines() if line.startswith("tests=")]
    done = subprocess.run(["bash", "-ec", f'{extraction}; echo "$tests"'], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == block.lstrip("\n")
    assert block.strip().startswith("pip install")


def test_the_tree_it_shows_is_there():
    tree = TEXT.split("## Where things are")[1].split("```")[1]
    for line in tree.splitlines():
        name = line.strip().split("  ")[0]
        inside = line.startswith("  ") and not name.startswith("train_")
        for part in name.split():
            assert not part or (ROOT / ("ignite_kd" if inside else ".") / part).exists(), part


def test_its_links_lead_to_its_headings():
    headings = {
        re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in re.findall(r"^#+ (.*)$", TEXT, re.M)
    }
    assert set(re.findall(r"\]\(#([^)]*)\)", TEXT)) <= headings
