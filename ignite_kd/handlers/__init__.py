"""Event handlers for a student: what happens around the steps, one matter a file."""

from __future__ import annotations

from ignite_kd.handlers import plots
from ignite_kd.handlers.checkpoint import Checkpoints
from ignite_kd.handlers.clipping import ClipGradients
from ignite_kd.handlers.console import Console
from ignite_kd.handlers.distributed import AverageGradients
from ignite_kd.handlers.doubled_forward import DoubledForward
from ignite_kd.handlers.end_epoch import EndEpoch
from ignite_kd.handlers.epoch_means import EpochMeans
from ignite_kd.handlers.evaluation import Evaluate, evaluate
from ignite_kd.handlers.finite import StopOnNonFinite, weights_are_finite
from ignite_kd.handlers.freezing import Freeze
from ignite_kd.handlers.keep_best import KeepBest
from ignite_kd.handlers.keep_epochs import KeepEpochs
from ignite_kd.handlers.record import RunRecord, versions
from ignite_kd.handlers.schedule import LogSpace, OneCycle, Plateau, StepSchedule, schedule_of
from ignite_kd.handlers.seeding import SeedSteps
from ignite_kd.handlers.stopping import Stopping
from ignite_kd.handlers.trackers import tracker
from ignite_kd.handlers.warm_up import WarmUp

__all__ = [
    "AverageGradients",
    "Checkpoints",
    "ClipGradients",
    "Console",
    "DoubledForward",
    "EndEpoch",
    "EpochMeans",
    "Evaluate",
    "Freeze",
    "KeepBest",
    "KeepEpochs",
    "LogSpace",
    "OneCycle",
    "Plateau",
    "RunRecord",
    "SeedSteps",
    "StepSchedule",
    "StopOnNonFinite",
    "Stopping",
    "WarmUp",
    "evaluate",
    "plots",
    "schedule_of",
    "tracker",
    "versions",
    "weights_are_finite",
]
