"""The step that this package is measured against: the loop of the released VID code, written out.

torchvision's transforms of PIL images in a DataLoader, float32, eager, contiguous; a teacher that stays in training
mode, without gradients; `loss.item()` and an accuracy at every step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler
from torch.utils.data import Dataset as TorchDataset
from torchvision import transforms

from ignite_kd.allocation import usual_allocation
from ignite_kd.data.dataset import Dataset, Images
from ignite_kd.heads.stages import channels_of, strides_of
from ignite_kd.recipes import get
from ignite_kd.representation import Batch, Representation, represent
from ignite_kd.terms import Term

__all__ = ["PlainLoop", "ReleasedVID", "picture_loader", "softened_divergence"]

_RECIPE = get("vid-released-code")
_ENDLESS = 10**9  # images: epochs have no end here, for neither loop


class ReleasedVID(nn.Module):
    """Branches and variances of the released student, and its distillation of the groups of equal size.

    The variance starts at softplus(softplus(5)): the released code takes softplus where its inverse was meant.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module) -> None:
        super().__init__()
        self.stages = _groups(student, teacher)
        own, shown = channels_of(student), channels_of(teacher)
        start = math.log(math.exp(5.0) + 1.0)
        self.variances = nn.ParameterList(nn.Parameter(torch.full((shown[s], 1, 1), start)) for s in self.stages)
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Conv2d(own[s], shown[s], 1, bias=False), nn.Conv2d(shown[s], shown[s], 1, bias=False))
            for s in self.stages
        )

    def forward(self, seen: Representation, shown: Representation, batch: Batch) -> Tensor:
        loss: Any = 0.0
        for stage, branch, parameter in zip(self.stages, self.branches, self.variances, strict=True):
            mean, target = branch(seen.features[stage]), shown.features[stage]
            variance = torch.log(torch.exp(parameter) + 1.0)
            loss = loss + torch.mean(0.5 * ((mean - target) ** 2 / variance + torch.log(variance)))
        return loss


def softened_divergence(logits: Tensor, target: Tensor, temperature: float) -> Tensor:
    """The knowledge-distillation term, T² included, a mean over the images."""
    wanted = F.softmax(target / temperature, dim=1)
    given = F.log_softmax(logits / temperature, dim=1)
    return F.kl_div(given, wanted, reduction="batchmean") * temperature * temperature


class PlainLoop:
    """A student, its teacher and what is summed; `run` takes steps.

    Only cross-entropy, KD and VID (of stages of equal size, without options) are written out here, as released. Any
    other term is this package's own head in the plain loop; `borrowed` names these.

    Args:
        borrow: builds this package's head of a term.
        batches: (images, labels[, indices]) without end, or as many as there will be steps.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        terms: Sequence[Term],
        batches: Iterable[Any],
        device: torch.device | str = "cpu",
        borrow: Callable[[Term], nn.Module] | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.student, self.teacher = student.to(device), teacher.to(device).train()
        self.terms: list[tuple[float, Callable[..., Tensor]]] = []
        self.borrowed: list[str] = []
        modules = nn.ModuleList()
        for term in terms:
            work = _written_out(term, student, teacher)
            if work is None:
                assert borrow is not None
                work = borrow(term)
                self.borrowed.append(term.method)
            if isinstance(work, nn.Module):
                modules.append(work.to(device=device, dtype=next(student.parameters()).dtype))
            self.terms.append((term.factor, work))
        self.optimizer = torch.optim.SGD(
            [*student.parameters(), *modules.parameters()],
            lr=_RECIPE.learning_rate,
            momentum=_RECIPE.momentum,
            weight_decay=_RECIPE.weight_decay,
        )
        self.losses: list[float] = []
        self.right = 0
        self._batches = iter(batches)

    def run(self, steps: int) -> None:
        with _torchs_defaults(), usual_allocation():
            for _ in range(steps):
                self._step()

    def close(self) -> None:
        """Let the loader's processes end."""
        self._batches = iter(())

    def _step(self) -> None:
        batch = Batch.of(next(self._batches))
        images, labels = batch.images.to(self.device), batch.labels.to(self.device)
        batch = Batch(images, labels, None if batch.indices is None else batch.indices.to(self.device))
        self.student.train()
        self.optimizer.zero_grad()
        with torch.no_grad():
            shown = represent(self.teacher, images)
        seen = represent(self.student, images)
        loss: Any = 0.0
        for factor, term in self.terms:
            loss = loss + factor * term(seen, shown, batch)
        loss.backward()
        self.optimizer.step()
        self.losses.append(loss.item())
        self.right += int((seen.logits.argmax(dim=1) == labels).sum().item())


def picture_loader(dataset: Dataset, batch_size: int, workers: int, pin_memory: bool = False) -> DataLoader:
    """The released code's loader, shuffled. It never ends, so that no epoch's start falls into a measurement."""
    pictures = _Pictures(dataset.train, _transform(dataset))
    sampler = RandomSampler(pictures, num_samples=_ENDLESS)
    return DataLoader(pictures, batch_size, sampler=sampler, num_workers=workers, pin_memory=pin_memory)


class _Pictures(TorchDataset):
    """Images as torchvision's CIFAR10 gives them: an array that becomes a PIL image each time, then transformed."""

    def __init__(self, images: Images, transform: Callable[[Image.Image], Tensor]) -> None:
        self.arrays = images.images.permute(0, 2, 3, 1).contiguous().numpy()
        self.labels = images.labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int, int]:
        return self.transform(Image.fromarray(self.arrays[index])), self.labels[index], index


def _transform(dataset: Dataset) -> Callable[[Image.Image], Tensor]:
    steps = [transforms.Pad(4, padding_mode="reflect"), transforms.RandomHorizontalFlip()]
    steps += [transforms.RandomCrop(dataset.train.images.shape[-1]), transforms.ToTensor()]
    return transforms.Compose([*steps, transforms.Normalize(dataset.mean, dataset.std)])


def _written_out(term: Term, student: nn.Module, teacher: nn.Module) -> Callable[..., Tensor] | None:
    if term.method == "ce" and not term.options:
        return lambda seen, shown, batch: F.cross_entropy(seen.logits, batch.labels)
    if term.method == "kd" and term.options.keys() <= {"temperature"}:
        temperature = float(term.options.get("temperature", 4.0))
        return lambda seen, shown, batch: softened_divergence(seen.logits, shown.logits, temperature)
    if term.method == "vid" and not term.options and _groups(student, teacher):
        return ReleasedVID(student, teacher)
    return None


def _groups(student: nn.Module, teacher: nn.Module) -> list[str]:
    """The stages of both between stem and pooling; none where their maps differ in size."""
    own, shown = ({s: n for s, n in strides_of(m).items() if s != "stem"} for m in (student, teacher))
    return list(own) if own == shown else []


@contextmanager
def _torchs_defaults() -> Iterator[None]:
    """The switches that this package moves, as torch has them: the released code moves none."""
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, torch.get_float32_matmul_precision()
    cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32 = False, False, True
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32 = before[:3]
        torch.set_float32_matmul_precision(before[3])
