import pytest
import torch

from ignite_kd.bench import machine

CPU = torch.device("cpu")


def test_the_rate_is_additions_and_multiplications_over_seconds(monkeypatch):
    monkeypatch.setattr(machine, "alternate", lambda works, rounds, device: {"product": [1.0, 4.0, 9.0]})
    assert machine.matrix_rate(CPU, size=8) == 2 * 8**3 / 4.0


def test_a_rate_of_this_machine_is_a_sensible_number():
    assert 1e7 < machine.matrix_rate(CPU, size=128, rounds=3) < 1e15


@pytest.mark.parametrize(("avx", "amx", "expected"), [(False, False, False), (True, False, True), (False, True, True)])
def test_bf16_is_measured_only_where_the_processor_has_it(monkeypatch, avx, amx, expected):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert machine.native_bf16(CPU) is expected
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
