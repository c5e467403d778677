"""The wide residual networks of the zoo, which are not those of the paper: wideresnet16_4, wideresnet28_10, …"""

from __future__ import annotations

from ignite_kd.errors import UserError
from ignite_kd.models.resnet import ResNet

__all__ = ["ZooWideResNet"]


class ZooWideResNet(ResNet):
    """`ResNet` with its groups `width` times as wide, over the narrow stem of 16 channels; depth 6n + 4.

    The zoo (seed 002, "Knowledge Distillations with Pytorch") calls this wideresnet<depth>_<width>. Its blocks rectify
    after the sum, as in He et al., 2015 (arXiv:1512.03385), while those of Zagoruyko and Komodakis, 2016
    (arXiv:1605.07146), which are `wrn_<depth>_<width>` here, normalise and rectify before their convolutions. Counting
    the shortcut convolutions that both have, depth 6n + 4 has n blocks a group. Names of the state dict are `ResNet`'s.

    Args:
        depth: 6n + 4, e.g. 16, 22, 28, 40.
        width: the factor on the channels of the groups.
        num_classes: the number of logits.
    """

    def __init__(self, depth: int = 16, width: int = 4, num_classes: int = 10) -> None:
        super(ResNet, self).__init__()
        if depth < 10 or depth % 6 != 4:
            below = max(10, (depth - 4) // 6 * 6 + 4)
            raise UserError(
                f"a wide residual network has depth 6n + 4 (10, 16, 22, …), not {depth}; "
                f"take wideresnet{below}_{width}" + (f" or wideresnet{below + 6}_{width}" if depth > 10 else "")
            )
        if width < 1:
            raise UserError(f"a wide residual network has width 1 or more, not {width}; take 2 or 4")
        name = f"wideresnet{depth}_{width}"
        self._make(name, num_classes, (depth - 4) // 6, 16, [16 * width, 32 * width, 64 * width])
