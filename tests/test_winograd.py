"""The oracle is the plain sum in float64."""

import warnings

import pytest
import torch
import torch.nn.functional as F

from ignite_kd import winograd
from ignite_kd.winograd import Winograd, with_fewer_products

pytestmark = pytest.mark.skipif(winograd.compiler() is None, reason="needs a C++ compiler")


@pytest.fixture
def calls(monkeypatch):
    """What of `winograd.cpp` was called."""
    names, call = [], winograd._call
    monkeypatch.setattr(
        winograd, "_call", lambda name, *rest, **sizes: (names.append(name), call(name, *rest, **sizes))
    )
    return names


def maps(n, channels, height, width, dtype=torch.float32):
    generator = torch.Generator().manual_seed(channels + height)
    return torch.randn(n, channels, height, width, generator=generator, dtype=dtype)


def close(found, wanted):
    """To some roundings of the largest number, since every number is a difference of larger ones."""
    return (found.double() - wanted).abs().max() <= 5e-5 * wanted.abs().max()


@pytest.mark.parametrize(
    ("channels", "out", "height", "width"),
    [(16, 32, 8, 8), (32, 16, 7, 12), (48, 80, 4, 3), (16, 16, 3, 15), (128, 64, 8, 8), (112, 96, 4, 4)],
)
@pytest.mark.parametrize("order", [torch.channels_last, torch.contiguous_format])
def test_outputs_and_gradients_are_those_of_the_plain_sum(channels, out, height, width, order, calls):
    x = maps(9, channels, height, width).to(memory_format=order).requires_grad_()
    weight = maps(out, channels, 3, 3).to(memory_format=order).requires_grad_()
    bias, towards = torch.linspace(-1, 1, out).requires_grad_(), maps(9, out, height, width).to(memory_format=order)
    plain = [t.detach().double().requires_grad_() for t in (x, weight, bias)]
    wanted = F.conv2d(*plain, padding=1)
    wanted.backward(towards.double())
    with Winograd():
        found = F.conv2d(x, weight, bias, padding=1)
    found.backward(towards)
    assert sorted(calls) == ["conv", "conv", "conv_weight"]
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert weight.grad.stride() == weight.stride()
    assert close(found, wanted)
    for own, other in zip((x, weight, bias), plain, strict=True):
        assert close(own.grad, other.grad)


def test_small_sums_come_out_exactly():
    """Of whole numbers every product and sum of F(4 x 4, 3 x 3) but the weights' sixths is exact."""
    x, weight = torch.ones(1, 16, 4, 4), torch.full((16, 16, 3, 3), 1.0)
    with Winograd():
        found = F.conv2d(x, weight, padding=1)
    rows = torch.tensor([2.0, 3, 3, 2])
    assert torch.allclose(found, (16 * rows[:, None] * rows).expand(1, 16, 4, 4), rtol=1e-6)


def test_all_of_a_block_and_of_many_blocks_are_done():
    """One, some, and hundreds of tiles, which blocks of up to 72 do not divide."""
    weight = maps(16, 16, 3, 3)
    for n in (1, 3, 19, 211):
        x = maps(n, 16, 8, 8)
        with Winograd():
            found = F.conv2d(x, weight, padding=1)
        assert close(found, F.conv2d(x.double(), weight.double(), padding=1))


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_any_number_of_threads_will_do(threads):
    x, weight, towards = maps(9, 16, 8, 8), maps(32, 16, 3, 3).requires_grad_(), maps(9, 32, 8, 8)
    wanted = torch.autograd.grad(F.conv2d(x, weight, padding=1), weight, towards)[0].double()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with Winograd():
            y = F.conv2d(x, weight, padding=1)
        found = torch.autograd.grad(y, weight, towards)[0]
    finally:
        torch.set_num_threads(before)
    assert close(found, wanted)
    assert close(y, F.conv2d(x.double(), weight.double(), padding=1))


def test_it_is_the_same_to_the_bit_each_time():
    x, weight = maps(20, 32, 8, 8), maps(32, 32, 3, 3).requires_grad_()
    results = []
    for _ in range(3):
        weight.grad = None
        with Winograd():
            y = F.conv2d(x, weight, padding=1)
        y.square().sum().backward()
        results.append((y.detach(), weight.grad))
    assert all(torch.equal(one, other) for later in results[1:] for one, other in zip(results[0], later, strict=True))


@pytest.mark.parametrize(
    ("x", "weight", "settings"),
    [
        (maps(2, 16, 8, 8), maps(16, 16, 3, 3), {"padding": 1, "stride": 2}),
        (maps(2, 16, 8, 8), maps(16, 16, 3, 3), {}),
        (maps(2, 16, 8, 8), maps(16, 16, 3, 3), {"padding": 2, "dilation": 2}),
        (maps(2, 16, 8, 8), maps(16, 16, 3, 3), {"padding": "same"}),
        (maps(2, 16, 8, 8), maps(16, 1, 3, 3), {"padding": 1, "groups": 16}),
        (maps(2, 16, 8, 8), maps(16, 16, 1, 1), {"padding": 1}),
        (maps(2, 3, 8, 8), maps(16, 3, 3, 3), {"padding": 1}),
        (maps(2, 16, 8, 8), maps(10, 16, 3, 3), {"padding": 1}),
        (maps(2, 16, 5, 5), maps(16, 16, 3, 3), {"padding": 1}),  # four tiles for little more than one
        (maps(2, 64, 4, 4), maps(64, 64, 3, 3), {"padding": 1}),  # two tiles for 4096 kernels
        (maps(1, 16, 8, 8)[0], maps(16, 16, 3, 3), {"padding": 1}),
        (maps(2, 16, 8, 8, torch.float64), maps(16, 16, 3, 3, torch.float64), {"padding": 1}),
    ],
)
def test_what_does_not_fit_is_done_as_before(x, weight, settings, calls):
    wanted = F.conv2d(x, weight, **settings)
    with Winograd():
        assert torch.equal(F.conv2d(x, weight, **settings), wanted)
    assert not calls


@pytest.mark.parametrize(
    ("channels", "bias"),
    [(32, None), (8, None), (16, torch.zeros(1)), (16, torch.zeros(16, dtype=torch.float64))],
)
def test_what_torch_refuses_is_refused(channels, bias, calls):
    """Weights of other channels would read beyond the end of the maps."""
    with Winograd(), pytest.raises(RuntimeError):
        F.conv2d(maps(2, channels, 8, 8), maps(16, 16, 3, 3), bias, padding=1)
    assert not calls


def test_arguments_may_be_named(calls):
    with Winograd():
        F.conv2d(input=maps(2, 16, 8, 8), weight=maps(16, 16, 3, 3), padding=1)
    assert calls == ["conv"]


def test_bfloat16_is_left_alone(calls):
    with torch.autocast("cpu", torch.bfloat16), Winograd():
        F.conv2d(maps(2, 16, 8, 8), maps(16, 16, 3, 3), padding=1)
    assert not calls


def test_it_compiles_into_one_graph(calls):
    network = torch.nn.Sequential(torch.nn.Conv2d(16, 16, 3, padding=1), torch.nn.ReLU())
    x = maps(2, 16, 8, 8).to(memory_format=torch.channels_last)
    fast = torch.compile(with_fewer_products(network), fullgraph=True)
    found, wanted = fast(x), network.double()(x.double())
    assert close(found, wanted)
    assert calls == ["conv"]


def forget():
    """Ask the compiler again."""
    winograd._sums.cache_clear()
    winograd._can_be_compiled.cache_clear()


@pytest.mark.parametrize("broken", ["false", "nowhere"])
def test_without_a_working_compiler_all_runs_as_it_is(broken, monkeypatch):
    monkeypatch.setattr(winograd, "compiler", lambda: broken)
    forget()
    with pytest.warns(UserWarning, match="convolutions of 3x3 run as they are"):
        assert with_fewer_products(len) is len
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert with_fewer_products(len) is len  # said once
        monkeypatch.undo()
        forget()
        assert with_fewer_products(len) is not len


@pytest.mark.parametrize("words", [r"\n", r"\377\n", ""])
def test_whatever_a_broken_compiler_says_is_told(words, tmp_path, monkeypatch):
    broken = tmp_path / "c++"
    broken.write_text(f"#!/bin/sh\nprintf '{words}' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(winograd, "compiler", lambda: str(broken))
    forget()
    with pytest.warns(UserWarning, match="convolutions of 3x3 run as they are: ."):
        assert with_fewer_products(len) is len
    forget()
