"""A lower part of the student that does not learn."""

from __future__ import annotations

from ignite.engine import Events
from torch import nn

from ignite_kd.engines import Attachment, StudentEngine
from ignite_kd.errors import UserError

__all__ = ["Freeze"]


class Freeze:
    """Everything from the image up to the stage `stage` keeps its weights; what comes after it learns.

    Args:
        stage: of a model that says which modules make it: `up_to(stage)`.
        norms: batch norms below keep their running statistics too. Dropout below goes on either way: it is noise on
            what the upper part sees.
    """

    def __init__(self, stage: str, norms: bool = True) -> None:
        self.stage, self.norms = stage, norms

    def attach(self, student: StudentEngine) -> Attachment:
        """Freeze now; the handle's `remove()` gives back what could learn before."""
        up_to = getattr(student.model, "up_to", None)
        if up_to is None:
            raise UserError(
                f"{getattr(student.model, 'name', type(student.model).__name__)} does not say which modules make a "
                "stage; take one that does, e.g. vgg16_fc3."
            )
        modules = [student.model.get_submodule(name) for name in up_to(self.stage)]
        frozen = [p for module in modules for p in module.parameters() if p.requires_grad]
        for parameter in frozen:
            parameter.requires_grad_(False)
        norms = [m for module in modules for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]

        def hold(student: StudentEngine) -> None:
            for norm in norms if self.norms else ():
                norm.eval()

        def undo() -> None:
            for parameter in frozen:
                parameter.requires_grad_(True)

        # after the engine itself has put the whole model into training mode, which it may do within an epoch
        return Attachment(student.add_event_handler(Events.ITERATION_STARTED, hold), undo)
