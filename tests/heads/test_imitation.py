import pytest
import torch

from ignite_kd import heads, models
from ignite_kd.errors import UserError
from ignite_kd.representation import Features, Representation


def seen(values):
    """`fc1` before its rectification is given; after it something else, which nobody should look at."""
    before = torch.tensor(values, dtype=torch.float64)
    return Representation(before, Features({"fc1": before + 100}), Features({"fc1": before}))


def test_it_is_the_mean_square_over_all_numbers_before_their_rectification():
    student, teacher = seen([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]]), seen([[2.0, -1.0, 0.5], [1.0, 1.0, 1.0]])
    widths = {"fc1": 3}
    for alpha in (1.0, 3.0):
        total = 0.0
        for own, shown in zip(student.before_relu["fc1"].tolist(), teacher.before_relu["fc1"].tolist(), strict=True):
            total += sum((s - alpha * t) ** 2 for s, t in zip(own, shown, strict=True))
        loss = heads.Imitation(widths, widths, "fc1", alpha=alpha)(student, teacher, None)
        assert loss.item() == pytest.approx(total / 6, rel=1e-12)


def test_it_is_torchs_mean_squared_error_of_maps_and_logits():
    torch.manual_seed(0)
    student, teacher = (models.build("resnet18_fc3", 5).eval() for _ in range(2))
    images = torch.randn(2, 3, 40, 40)
    own, shown = student.represent(images), teacher.represent(images)
    for stage in ("conv", "fc1", "fc2", "fc3"):
        loss = heads.build("imitation", student=student, teacher=teacher, stages=stage)(own, shown, None)
        expected = torch.nn.functional.mse_loss(own.before_relu[stage], shown.before_relu[stage])
        torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)


def test_other_widths_are_refused():
    with pytest.raises(UserError, match=r"imitation needs equal widths.*'fc1' has 3.*'fc1' 4; fitnet"):
        heads.Imitation({"fc1": 3}, {"fc1": 4}, "fc1")
