import math

import pytest
import torch
from oracles import fill, h

from ignite_kd.errors import UserError
from ignite_kd.heads.itrd import ITRD
from ignite_kd.representation import Representation

LOGITS = torch.zeros(8, 10)
SEEDS = {"S": (32, 4011), "D": (64, 4011), "T": (64, 4503)}


def pooled(letter):
    """Entry 4 of a golden set: E of methods.md 7.1."""
    width, seed = SEEDS[letter]
    return ((1 + h((8, width), seed)) / 2).requires_grad_()


def head_for(width, **options):
    head = ITRD({"pooled": width}, {"pooled": 64}, **options).double()
    fill(head.embed, 300)
    return head


def measured(head, student, teacher):
    given = pooled(student)
    loss = head(Representation(LOGITS, pooled=given), Representation(LOGITS, pooled=pooled(teacher)), None)
    loss.backward()
    aux = math.sqrt(sum(p.grad.square().sum().item() for p in head.parameters() if p.grad is not None))
    return loss.item(), given.grad.norm().item(), aux


CORRELATION, MUTUAL = {"lambda_mutual": 0.0, "lambda_corr": 1.0}, {"lambda_mutual": 1.0, "lambda_corr": 0.0}


@pytest.mark.parametrize(
    ("student", "options", "expected"),
    [
        ("S", CORRELATION | {"alpha_it": 1.01}, (6.225516068, 0.2990834745, 0.5034416841)),
        ("S", CORRELATION | {"alpha_it": 1.5}, (6.487958565, 0.4502435704, 0.7651856994)),
        ("S", MUTUAL, (0.1909128766, 0.08017666939, 0.1735931004)),
        ("D", CORRELATION | {"alpha_it": 1.01}, (6.213933321, 0.3356169664, 0.8153881704)),
        ("D", MUTUAL, (0.1815958878, 0.04610704362, 0.0)),
    ],
)
def test_it_is_the_golden_value_of_methods_7_6(student, options, expected):
    found = measured(head_for(SEEDS[student][0], **options), student, "T")
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_a_perfect_student_is_left_with_the_floor_of_its_batch():
    x = h((8, 64), 3)
    head = ITRD({"pooled": 64}, {"pooled": 64}, lambda_corr=1.0, lambda_mutual=0.0, alpha_it=1.01).double()
    with torch.no_grad():
        head.embed.weight.copy_(torch.eye(64))
        head.embed.bias.zero_()
    loss = head(Representation(LOGITS, pooled=x), Representation(LOGITS, pooled=x), None).item()
    assert loss == pytest.approx(-0.06, abs=1e-9)
    assert loss == pytest.approx(math.log2(64 * 8 ** (-2 * 1.01)), rel=1e-9)


def test_it_is_the_papers_sum_written_out():
    own, shown, alpha = h((3, 2), 5), h((3, 2), 9), 1.5
    head = ITRD({"pooled": 2}, {"pooled": 2}, lambda_corr=2.0, lambda_mutual=0.5, alpha_it=alpha).double()
    weight, bias = head.embed.weight.tolist(), head.embed.bias.tolist()
    embedded = [[sum(w * x for w, x in zip(row, image, strict=True)) + b for row, b in zip(weight, bias, strict=True)]
                for image in own.tolist()]  # fmt: skip

    def standardised(rows, j):
        column = [row[j] for row in rows]
        mean = sum(column) / 3
        deviation = math.sqrt(sum((x - mean) ** 2 for x in column) / 2)
        return [(x - mean) / deviation for x in column]

    inner = 0.0
    for j in range(2):
        pair = zip(standardised(embedded, j), standardised(shown.tolist(), j), strict=True)
        inner += abs(sum(u * t for u, t in pair) / 3 - 1) ** (2 * alpha)

    def cosines(rows):
        length = [math.hypot(*row) for row in rows]
        return [[sum(a * b for a, b in zip(rows[i], rows[k], strict=True)) / length[i] / length[k] for k in range(3)]
                for i in range(3)]  # fmt: skip

    g_s, g_t = cosines(own.tolist()), cosines(shown.tolist())
    mutual = sum((g_s[i][k] / 3) ** 2 - (g_s[i][k] * g_t[i][k] / 3) ** 2 for i in range(3) for k in range(3))
    found = head(Representation(LOGITS, pooled=own), Representation(LOGITS, pooled=shown), None).item()
    assert found == pytest.approx(2.0 * math.log2(inner) + 0.5 * mutual, rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("constant", [0.0, 0.1, 1e4])
def test_a_dead_dimension_counts_as_uncorrelated(constant, dtype):
    shown = h((8, 64), 5).to(dtype)
    dead = shown.clone()
    dead[:, 3] = constant
    head = ITRD({"pooled": 64}, {"pooled": 64}, lambda_corr=1.0, lambda_mutual=0.0, alpha_it=1.01).to(dtype)
    with torch.no_grad():
        head.embed.weight.copy_(torch.eye(64))
        head.embed.bias.zero_()
    found = head(Representation(LOGITS, pooled=shown), Representation(LOGITS, pooled=dead), None)
    expected = math.log2(63 * 8 ** (-2 * 1.01) + 1)
    assert found.item() == pytest.approx(expected, rel=1e-4)


def test_the_second_term_takes_the_students_own_vector_where_widths_agree():
    head = head_for(64, **MUTUAL)
    measured(head, "D", "T")
    assert not head.embed.weight.grad.any()
    head = head_for(32, **MUTUAL)
    measured(head, "S", "T")
    assert head.embed.weight.grad.any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lambda_corr": -1.0}, "lambda_corr of itrd should be 0 or more, but -1.0"),
        ({"lambda_mutual": math.nan}, "lambda_mutual of itrd"),
        ({"alpha_it": 0.5}, "alpha_it of itrd should be above 0.5, but 0.5"),
        ({"stages": "pooled+layer1"}, "one stage, but 2 were given"),
        ({"stages": "layer9"}, "no stage 'layer9'"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(options, message):
    channels = {"layer1": 4, "pooled": 4}
    with pytest.raises(UserError, match=message) as caught:
        ITRD(channels, channels, **options)
    assert "\n" not in str(caught.value)
