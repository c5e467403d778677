import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from oracles import h
from stage_sets import channels, measured, seen

from ignite_kd.errors import UserError
from ignite_kd.heads import KDSVD
from ignite_kd.models import MLP, WideResNet
from ignite_kd.representation import Features, Representation


def test_the_benchmark_variant_has_the_golden_value_of_methods_7_5():
    head = KDSVD(channels("D"), channels("T"))
    assert head.pairs == [(stage, stage) for stage in ("layer1", "layer2", "layer3")]
    found = measured(head, seen("D"), seen("T"))
    assert found["loss"] == pytest.approx(0.002527746324, rel=2e-9)
    assert found["grad"] == pytest.approx([5.354577168e-05, 0.0002484311565, 0.0003091384321], rel=2e-9)


@pytest.mark.parametrize(("stages", "part"), [("layer1+layer2", 0.0004401424429), ("layer2+layer3", 0.002087603881)])
def test_each_step_has_its_golden_part_of_methods_7_5(stages, part):
    found = measured(KDSVD(channels("D"), channels("T"), stages=stages), seen("D"), seen("T"))
    assert found["loss"] == pytest.approx(part, rel=2e-9)


def test_the_variant_of_mdistiller_has_the_golden_value_of_methods_7_5():
    found = measured(KDSVD(channels("S"), channels("T"), variant="mdistiller"), seen("S"), seen("T"))
    assert found["loss"] == pytest.approx(0.0006042044078, rel=2e-9)
    assert found["grad"] == pytest.approx([5.580008678e-05, 0.0001782859423, 0.0002351419981], rel=2e-9)


def vectors_of(own, shown):
    """numpy's singular vectors of one image: the teacher's first, and the student's most parallel one of four."""
    w_t = np.linalg.svd(shown)[2][0]
    w_t = w_t * np.sign(w_t[np.abs(w_t).argmax()])
    rows = np.linalg.svd(own)[2][:4]
    best = max(rows, key=lambda v: abs(sum(v * w_t)))
    return best * np.sign(sum(best * w_t)), w_t


def written_out(stages):
    """Of one image: pairs of matrices (student's, teacher's) by stage."""
    vectors = [vectors_of(*pair) for pair in stages]
    total = 0.0
    for before, now in pairwise(vectors):
        for a in range(len(now[0])):
            for b in range(len(before[0])):
                r_s, r_t = (math.exp(-((now[k][a] - before[k][b]) ** 2) / 8) for k in (0, 1))
                total += (r_s - r_t) ** 2
    return total


# more positions than channels, fewer, and fewer columns than candidates
SHAPES = {"a": (3, 4, 4), "b": (9, 2, 2), "c": (2, 3, 3)}


@pytest.mark.parametrize("variant", ["benchmark", "mdistiller"])
def test_it_is_the_sum_written_out(variant):
    maps, hints = ({s: h((2, *shape), 7 * i + k) for i, (s, shape) in enumerate(SHAPES.items())} for k in (1, 100))
    expected = 0.0
    for n in range(2):
        pairs = []
        for stage, (c, height, width) in SHAPES.items():
            images = [x[stage][n].numpy() for x in (maps, hints)]
            if variant == "benchmark":
                pairs.append([x.reshape(c, height * width).T for x in images])
            else:
                pairs.append([x.reshape(c * height, width) for x in images])
        expected += written_out(pairs) / 2
    widths = {stage: shape[0] for stage, shape in SHAPES.items()}
    student, teacher = (Representation(torch.zeros(2, 2), Features(x)) for x in (maps, hints))
    assert KDSVD(widths, widths, variant=variant)(student, teacher, None).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("variant", ["benchmark", "mdistiller"])
@pytest.mark.parametrize("shape", [(3, 4, 4), (9, 2, 2)])
def test_the_gradient_is_that_of_finite_differences(variant, shape):
    maps = [h((2, *shape), seed).requires_grad_() for seed in (1, 8)]
    teacher = Representation(torch.zeros(2, 2), Features({"a": h((2, *shape), 100), "b": h((2, *shape), 107)}))
    widths = {"a": shape[0], "b": shape[0]}
    head = KDSVD(widths, widths, variant=variant)

    def loss(a, b):
        return head(Representation(torch.zeros(2, 2), Features({"a": a, "b": b})), teacher, None)

    assert torch.autograd.gradcheck(loss, maps)


def test_other_sizes_are_compared_channel_by_channel_as_they_are_and_column_by_column_when_pooled():
    maps, hints = {"a": h((2, 3, 4, 4), 1), "b": h((2, 3, 4, 4), 2)}, {"a": h((2, 3, 2, 2), 3), "b": h((2, 3, 2, 2), 4)}
    student, teacher = (Representation(torch.zeros(2, 2), Features(x)) for x in (maps, hints))
    widths = {"a": 3, "b": 3}
    assert KDSVD(widths, widths)(student, teacher, None) > 0
    pooled = Features({s: torch.nn.functional.avg_pool2d(x, 2) for s, x in maps.items()})
    head = KDSVD(widths, widths, variant="mdistiller")
    expected = head(Representation(torch.zeros(2, 2), pooled), teacher, None).item()
    assert head(student, teacher, None).item() == pytest.approx(expected, rel=1e-12)


def test_it_does_not_depend_on_the_sign_of_the_teachers_maps():
    teacher = seen("T")
    turned = Representation(teacher.logits, Features({s: -x.detach() for s, x in teacher.features.items()}))
    head = KDSVD(channels("D"), channels("T"))
    losses = [head(seen("D"), each, None).item() for each in (teacher, turned)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)


def test_it_is_zero_where_both_say_the_same_up_to_scale():
    student = seen("D")
    same = Features({stage: 3 * x.detach() for stage, x in student.features.items()})
    loss = KDSVD(channels("D"), channels("D"))(student, Representation(student.logits, same), None)
    assert loss.item() == pytest.approx(0, abs=1e-18)


@pytest.mark.parametrize("variant", ["benchmark", "mdistiller"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_singular_values_leave_the_gradient_finite_and_bounded(variant, dtype):
    identity = torch.eye(4, dtype=dtype).reshape(1, 4, 2, 2).repeat(2, 1, 1, 1).requires_grad_()
    turned = torch.eye(2, dtype=dtype).expand(2, 4, 2, 2).contiguous().requires_grad_()
    student = Representation(torch.zeros(2, 2), Features({"a": identity, "b": turned}))
    teacher = Representation(
        torch.zeros(2, 2), Features({"a": h((2, 4, 2, 2), 1).to(dtype), "b": h((2, 4, 2, 2), 2).to(dtype)})
    )
    widths = {"a": 4, "b": 4}
    loss = KDSVD(widths, widths, variant=variant)(student, teacher, None)
    loss.backward()
    assert loss.isfinite()
    for x in (identity, turned):
        assert x.grad.isfinite().all()
        assert x.grad.norm() < 10


def test_a_dead_map_of_the_student_counts_as_a_vector_of_zeros():
    maps = {"a": torch.zeros(1, 2, 2, 2), "b": torch.zeros(1, 2, 2, 2)}
    hint = torch.zeros(1, 2, 2, 2)
    hint[:, 0] = 1  # the first vector is (1, 0)
    student = Representation(torch.zeros(1, 2), Features({s: x.requires_grad_() for s, x in maps.items()}))
    teacher = Representation(torch.zeros(1, 2), Features({"a": hint, "b": hint}))
    loss = KDSVD({"a": 2, "b": 2}, {"a": 2, "b": 2})(student, teacher, None)
    loss.backward()
    assert loss.item() == pytest.approx(2 * (1 - math.exp(-1 / 8)) ** 2, rel=1e-5)
    assert all(x.grad.isfinite().all() for x in maps.values())


def test_a_feature_that_is_no_number_makes_a_loss_that_is_none():
    student = seen("D")
    broken = Features({s: x.detach() * (math.nan if s == "layer2" else 1) for s, x in student.features.items()})
    assert KDSVD(channels("D"), channels("T"))(Representation(student.logits, broken), seen("T"), None).isnan()


@pytest.mark.parametrize(
    ("student", "teacher", "options", "message"),
    [
        (
            WideResNet(10, 1),
            WideResNet(10, 2),
            {},
            "kdsvd needs equal widths, but the student's 'layer1' has 16 channels and the teacher's 'layer1' 32; "
            "take variant=mdistiller, which compares columns.",
        ),
        (
            WideResNet(10, 1),
            WideResNet(10, 1),
            {"variant": "crd"},
            "the variant of kdsvd should be benchmark or mdistiller, but 'crd' was given.",
        ),
        (
            MLP(8, 1),
            WideResNet(10, 1),
            {},
            "kdsvd compares how stages follow each other and needs two or more, but has only 'pooled'; "
            "give stages=first+second, or take networks that share stages.",
        ),
        (
            WideResNet(10, 1),
            WideResNet(10, 1),
            {"stages": "layer3+pooled"},
            "kdsvd compares the positions of maps, but the student's 'pooled' is a vector; "
            "name stages that are maps, or take a method that needs none (kd, rkd, sp).",
        ),
    ],
)
def test_networks_that_do_not_fit_are_refused_in_one_line(student, teacher, options, message):
    with pytest.raises(UserError) as error:
        KDSVD.for_models(student, teacher, **options)
    assert str(error.value) == message


def test_other_widths_fit_the_variant_of_mdistiller():
    assert len(KDSVD.for_models(WideResNet(10, 1), WideResNet(10, 2), variant="mdistiller").pairs) == 3
