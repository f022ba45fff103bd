"""Digits written a little differently: rotated, scaled, sheared, shifted and warped copies of the training images."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Augmentation:
    """How far a copy may go, each drawn evenly from -x to x: degrees, parts of 1, parts of 1, pixels; warp: rms pixels of a smooth field."""

    rotation: float
    scale: float
    shear: float
    shift: float
    warp: float


WEAK = Augmentation(rotation=6, scale=0.06, shear=0.06, shift=0.8, warp=0.6)
STRONG = Augmentation(rotation=10, scale=0.1, shear=0.1, shift=1.5, warp=1.0)


def augmented(images: Tensor, kind: Augmentation, seed: int, part: int = 5000) -> Tensor:
    """A distorted copy of every image: uint8 (N, H, W) -> uint8 (N, H, W). Each is sampled once, bilinearly, black outside.

    The place that a pixel is read from is A p + t + d(p): a random affine map and a field d, normal on a 6 x 6 grid and bicubic between.
    """
    chance = torch.Generator().manual_seed(seed)
    return torch.cat([_distorted(some, kind, chance) for some in images.split(part)])


def _distorted(images: Tensor, kind: Augmentation, chance: torch.Generator) -> Tensor:
    count, height, width = images.shape
    grid = F.affine_grid(_affine_maps(count, width, kind, chance), (count, 1, height, width), align_corners=False)
    field = torch.randn((count, 2, 6, 6), generator=chance) * kind.warp * 2 / width
    grid = grid + F.interpolate(field, (height, width), mode="bicubic", align_corners=False).permute(0, 2, 3, 1)
    copies = F.grid_sample(images.unsqueeze(1).float(), grid, align_corners=False)
    return copies.squeeze(1).round().clamp(0, 255).to(torch.uint8)


def _affine_maps(count: int, width: int, kind: Augmentation, chance: torch.Generator) -> Tensor:
    """(count, 2, 3): rotation times scale and shear, and a shift; coordinates run from -1 to 1."""
    def even(most: float) -> Tensor:
        return (2 * torch.rand(count, generator=chance) - 1) * most

    angle, zoom, shear = even(torch.pi * kind.rotation / 180), 1 + even(kind.scale), even(kind.shear)
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    rows = [cos, shear * cos - sin, even(kind.shift) * 2 / width, sin, shear * sin + cos, even(kind.shift) * 2 / width]
    return torch.stack(rows, dim=1).reshape(count, 2, 3)
