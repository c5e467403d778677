import pytest
import torch

from ignite_kd.devices import pick_device, prepare_precision
from ignite_kd.errors import UserError


@pytest.fixture
def machine(monkeypatch):
    """A machine with so many GPUs, and perhaps Apple's, whatever this one has."""

    def pretend(gpus=0, apple=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: apple)
        monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)

    return pretend


@pytest.mark.parametrize("word", ["auto", ""])
@pytest.mark.parametrize(
    ("gpus", "apple", "found"), [(2, False, "cuda:0"), (0, True, "mps"), (0, False, "cpu"), (1, True, "cuda:0")]
)
def test_left_to_itself_it_takes_a_gpu_if_there_is_one(machine, word, gpus, apple, found):
    machine(gpus, apple)
    assert pick_device(word) == torch.device(found)


@pytest.mark.parametrize(
    ("word", "found"), [("0", "cuda:0"), ("1", "cuda:1"), ("cuda:1", "cuda:1"), ("cpu", "cpu"), ("cuda", "cuda")]
)
def test_a_device_is_taken_at_its_word(machine, word, found):
    machine(gpus=2)
    assert pick_device(word) == torch.device(found)


def test_a_gpu_computes_the_same_bits_each_time(machine):
    machine(gpus=1)
    pick_device("cpu")
    assert not torch.backends.cudnn.deterministic
    pick_device("0")
    assert torch.backends.cudnn.deterministic


@pytest.mark.parametrize(
    ("gpus", "word", "words"),
    [
        (0, "0", "--device 0 was asked for, but PyTorch sees no GPU here; leave --device out or say --device cpu"),
        (0, "cuda", "--device cuda was asked for, but PyTorch sees no GPU here"),
        (1, "1", "--device 1 was asked for, but this machine has only 1 GPU, counted from 0; leave"),
        (2, "cuda:2", "--device cuda:2 was asked for, but this machine has only 2 GPUs, counted from 0"),
    ],
)
def test_a_gpu_that_is_not_there_is_refused(machine, gpus, word, words):
    machine(gpus)
    with pytest.raises(UserError, match=words):
        pick_device(word)


def test_apples_gpu_is_refused_where_there_is_none(machine):
    machine(apple=True)
    assert pick_device("mps") == torch.device("mps")
    machine(apple=False)
    with pytest.raises(UserError, match="--device mps was asked for, but this machine has none; leave --device out"):
        pick_device("mps")


@pytest.mark.parametrize("word", ["gpu", "cuda:x", "cuda:", "-1", "0,1", "CPU", "meta", "xpu", "²", "cuda:-1", " "])
def test_an_unknown_word_is_refused_with_what_is_possible(machine, word):
    machine(gpus=1)
    with pytest.raises(UserError, match=f"unknown device '{word}'; possible: a GPU's number, cuda:N, mps, cpu, auto"):
        pick_device(word)


@pytest.mark.parametrize("device", ["cpu", "cuda:0", "mps"])
@pytest.mark.parametrize("word", ["fp32", "bf16"])
@pytest.mark.filterwarnings("ignore:this .* has no bfloat16 products")
def test_other_formats_are_the_engines_matter(word, device):
    before = torch.get_float32_matmul_precision()
    assert prepare_precision(word, torch.device(device)) == word
    assert torch.get_float32_matmul_precision() == before


def test_a_processor_that_only_imitates_bfloat16_is_warned_of(monkeypatch, recwarn):
    monkeypatch.setattr("ignite_kd.devices.native_bf16", lambda device: True)
    assert prepare_precision("bf16", torch.device("cpu")) == "bf16"
    assert not recwarn
    monkeypatch.setattr("ignite_kd.devices.native_bf16", lambda device: False)
    with pytest.warns(UserWarning, match="this cpu has no bfloat16 products and imitates them"):
        assert prepare_precision("bf16", torch.device("cpu")) == "bf16"


def test_tensorfloat_is_a_switch_and_fp32_for_the_engine():
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        assert prepare_precision("tf32", torch.device("cuda:0")) == "fp32"
        assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == ("high", True)
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_tensorfloat_is_refused_elsewhere(device):
    before = torch.get_float32_matmul_precision()
    words = f"--precision tf32 is a format of NVIDIA GPUs, but the device is {device}; use fp32 or bf16"
    with pytest.raises(UserError, match=words):
        prepare_precision("tf32", torch.device(device))
    assert torch.get_float32_matmul_precision() == before
