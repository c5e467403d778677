import pytest
import torch

from ignite_kd import models
from ignite_kd.bench import machine
from ignite_kd.devices import native_bf16

CPU = torch.device("cpu")


def test_products_are_counted_as_models_count_them():
    work, count = machine.products(CPU, size=8)
    assert count == 2 * models.products(work) == 2 * 8**3


@pytest.mark.parametrize(("kind", "dtype", "precision"), [("fp32", torch.float32, "highest"),
                                                         ("tf32", torch.float32, "high"),
                                                         ("bf16", torch.bfloat16, "highest")])  # fmt: skip
def test_products_are_in_the_number_format_that_is_named(kind, dtype, precision, monkeypatch):
    seen = []
    product = torch.Tensor.__matmul__
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda left, right: seen.append(
        (left.dtype, right.dtype, torch.get_float32_matmul_precision())) or product(left, right))  # fmt: skip
    before = torch.get_float32_matmul_precision()
    machine.products(CPU, kind, size=4)[0]()
    assert seen == [(dtype, dtype, precision)]
    assert torch.get_float32_matmul_precision() == before


@pytest.mark.parametrize(("avx", "amx", "expected"), [(False, False, False), (True, False, True), (False, True, True)])
def test_bf16_is_measured_only_where_the_processor_has_it(monkeypatch, avx, amx, expected):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert native_bf16(CPU) is expected
    assert machine.formats(CPU) == ["fp32"] + ["bf16"] * expected


def test_convolutions_of_a_gpu_are_tf32_unless_told_otherwise(monkeypatch):
    assert machine.number_format("fp32", CPU) == "fp32"
    assert machine.number_format("fp32", torch.device("cuda")) == "tf32"
    assert machine.number_format("bf16", torch.device("cuda")) == "bf16"
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    assert machine.number_format("fp32", torch.device("cuda")) == "fp32"


def test_it_says_what_this_machine_is():
    found = machine.describe(CPU)
    assert found["device"] == "cpu" and found["name"] and found["versions"]["torch"] == torch.__version__.split("+")[0]


def test_the_help_is_called_and_timed():
    assert 0 < machine.help_seconds(1) < 60
