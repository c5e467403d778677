"""Every method on every pair of the benchmark's two tables, all at once: any two of them then get on together."""

import pytest
import torch

from ignite_kd import heads, models
from ignite_kd.engines import StudentEngine, TeacherEngine
from ignite_kd.recipes import crd
from ignite_kd.representation import Batch

FSP_FITS = {  # N/A in the tables for wrn_40_1 and across architectures: other widths
    ("wrn_40_2", "wrn_16_2"), ("resnet56", "resnet20"), ("resnet110", "resnet20"), ("resnet110", "resnet32"),
    ("resnet32x4", "resnet8x4"), ("vgg13", "vgg8"),
}  # fmt: skip
COMPARED = ("fsp", "imitation")  # channel by channel, with nothing between
OTHER_WIDTHS = sorted(set(crd.PAIRS) - FSP_FITS)


def attach(name, student, teacher):
    options = {"labels": torch.arange(200) % 100, "negatives": 16} if name in ("crd", "wcord") else {}
    if name == "kdsvd" and (teacher.model.name, student.model.name) not in FSP_FITS:
        options = {"variant": "mdistiller"}  # which does not compare channel by channel
    head = heads.build(name, student=student.model, teacher=teacher.model, **options)
    head.attach(student, factor=0.01)


@pytest.mark.parametrize(("shown", "own"), crd.PAIRS, ids=map("-".join, crd.PAIRS))
def test_every_head_trains_beside_every_other_on_each_pair_of_the_tables(shown, own):
    torch.manual_seed(0)
    model = models.build(own, 100)
    student = StudentEngine(model, torch.optim.SGD(model.parameters(), lr=0.001))
    teacher = TeacherEngine(models.build(shown, 100))
    teacher.attach(student)
    names = [name for name in heads.names() if name not in COMPARED or (shown, own) in FSP_FITS]
    for name in names:
        attach(name, student, teacher)
    batch = Batch(torch.randn(3, 3, 32, 32), torch.tensor([3, 50, 99]), torch.tensor([103, 150, 99]))
    student.run([batch], max_epochs=1)
    losses = student.state.output["losses"]
    assert list(losses) == names
    assert all(loss.isfinite() for loss in losses.values())
    assert all(p.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(("shown", "own"), OTHER_WIDTHS, ids=map("-".join, OTHER_WIDTHS))
def test_fsp_is_not_applicable_where_the_tables_say_so(shown, own):
    student, teacher = (models.build(name, 100) for name in (own, shown))
    with pytest.raises(ValueError, match="fsp needs equal widths"):
        heads.build("fsp", student=student, teacher=teacher)
