"""Pictures of digits: a mosaic of a whole data set, a gallery with captions, wrong answers by kind, what neurons look for.

Each function returns a matplotlib figure for `lab.figures.show`. Digits stand on their own dark ground, so they look the same in a
light and in a dark page.
"""

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

NIGHT, INK, ALARM = (0.05, 0.07, 0.10), (0.62, 0.70, 0.79), (1.00, 0.66, 0.06)  # ground, strokes, ground of marked digits
AGAINST, FOR = (0.20, 0.60, 1.00), (1.00, 0.66, 0.06)  # weights below and above zero: blue and orange
WIDTH = 7.2  # inches: the text column


def mosaic(images: Tensor, marked: Tensor, columns: int = 125, side: int = 8) -> Figure:
    """All digits (N, 28, 28) side by side, each shrunk to `side` pixels; those `marked` (N,) bool in orange.

    Raises ValueError when images and marks do not belong together.

    >>> mosaic(torch.zeros(10, 28, 28, dtype=torch.uint8), torch.zeros(10, dtype=torch.bool), columns=5).get_size_inches().tolist()
    [7.2, 2.88]
    """
    _check(images, marked)
    strokes = F.adaptive_avg_pool2d(images.float() / 255, side)
    strokes = (strokes * (28 / side) ** 0.5).clamp(max=1).mul(3).round() / 3  # averaging pales thin strokes; few levels make a small file
    mark = marked.reshape(-1, 1, 1, 1)
    ground, stroke = (torch.where(mark, torch.tensor(a), torch.tensor(b)) for a, b in ((ALARM, NIGHT), (NIGHT, INK)))
    image = side_by_side(ground + (stroke - ground) * strokes.unsqueeze(-1), columns)
    figure = Figure(figsize=(WIDTH, WIDTH * image.shape[0] / image.shape[1]), dpi=image.shape[1] / WIDTH)
    _picture(figure.add_axes((0, 0, 1, 1)), image)
    return figure


def side_by_side(cells: Tensor, columns: int) -> Tensor:
    """Cells (N, h, w, 3) row by row in one image (ceil(N / columns) * h, columns * w, 3); empty places stay black.

    >>> side_by_side(torch.ones(3, 2, 4, 3), columns=2).shape
    torch.Size([4, 8, 3])
    """
    count, height, width, _ = cells.shape
    rows = -(-count // columns)
    full = torch.cat([cells, torch.zeros(rows * columns - count, height, width, 3)])
    return full.reshape(rows, columns, height, width, 3).transpose(1, 2).reshape(rows * height, columns * width, 3)


def gallery(images: Tensor, captions: list, columns: int = 6) -> Figure:
    """Digits (N, 28, 28) with a caption below each.

    >>> len(gallery(torch.zeros(3, 28, 28), ["a", "b", "c"]).axes)
    3
    """
    _check(images, captions)
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(WIDTH, 1.17 * WIDTH * rows / columns), layout="constrained")
    for place, (image, caption) in enumerate(zip(images, captions, strict=True), start=1):
        axes = figure.add_subplot(rows, columns, place)
        strokes = image.float().unsqueeze(-1) / 255
        _picture(axes, torch.tensor(NIGHT) + (1 - torch.tensor(NIGHT)) * strokes)
        axes.set_xlabel(str(caption), labelpad=3, size=12)
    return figure


def confusion(labels: Tensor, answers: Tensor) -> Figure:
    """How often each digit was read as each other digit; right answers are left out.

    >>> confusion(torch.tensor([4, 4]), torch.tensor([4, 9])).axes[0].get_ylabel()
    'digit that was meant'
    """
    _check(labels, answers)
    if min(labels.min(), answers.min()) < 0 or max(labels.max(), answers.max()) > 9:
        raise ValueError(f"labels and answers reach from {min(labels.min(), answers.min())} to {max(labels.max(), answers.max())}, expected 0 to 9")
    counts = torch.bincount(10 * labels + answers, minlength=100).reshape(10, 10)
    counts.fill_diagonal_(0)
    figure = Figure(figsize=(0.62 * WIDTH, 0.58 * WIDTH), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(counts.numpy(), cmap="viridis")
    for row, column in counts.nonzero().tolist():
        count = int(counts[row, column])
        axes.text(column, row, count, ha="center", va="center", size=8, color="black" if count > counts.max() / 2 else "white")
    axes.set(xticks=range(10), yticks=range(10), xlabel="digit that was read", ylabel="digit that was meant")
    return figure


def neurons(weights: Tensor, columns: int = 8) -> Figure:
    """The weights (N, 28, 28) of neurons as pictures: orange above zero, blue below, dark at zero, each on its own scale.

    >>> len(neurons(torch.randn(4, 28, 28)).axes)
    4
    """
    if weights.dim() != 3 or not len(weights) or not bool(torch.isfinite(weights).all()):
        raise ValueError(f"weights have shape {tuple(weights.shape)}, expected finite (N, height, width) with N >= 1")
    rows = -(-len(weights) // columns)
    figure = Figure(figsize=(WIDTH, WIDTH * rows / columns), layout="constrained")
    for place, weight in enumerate(weights, start=1):
        _picture(figure.add_subplot(rows, columns, place), _blue_or_orange(weight / weight.abs().max().clamp(min=1e-12)))
    return figure


def network(tables: list[Tensor], gap: int = 12) -> Figure:
    """Weight tables (rows, columns) side by side, one pixel for each weight: orange above zero, blue below, on a common scale.

    The scale ends at four standard deviations of all weights. Rows are neurons, columns are what they read.

    >>> len(network([torch.randn(3, 5), torch.randn(2, 3)]).axes)
    1
    """
    if not tables or any(t.dim() != 2 or not bool(torch.isfinite(t).all()) for t in tables):
        raise ValueError(f"tables have shapes {[tuple(t.shape) for t in tables]}, expected finite matrices, at least one")
    end = 4 * torch.cat([t.flatten() for t in tables]).std(correction=0).clamp(min=1e-12)
    height = max(len(t) for t in tables)
    blank = torch.ones(height, gap, 4) * torch.tensor([*NIGHT, 0.0])
    parts = [blank]
    for table in tables:
        colors = F.pad(_blue_or_orange((table / end).clamp(-1, 1)), (0, 1), value=1.0)
        above = (height - len(table)) // 2
        parts += [F.pad(colors, (0, 0, 0, 0, above, height - len(table) - above)), blank]
    image = torch.cat(parts[1:-1], dim=1)
    figure = Figure(figsize=(WIDTH, WIDTH * image.shape[0] / image.shape[1]), dpi=image.shape[1] / WIDTH)
    _picture(figure.add_axes((0, 0, 1, 1)), image)
    return figure


def _blue_or_orange(weights: Tensor) -> Tensor:
    """Weights in [-1, 1] as colors (..., 3), on fifteen levels: a smaller file."""
    color = torch.where(weights.unsqueeze(-1) > 0, torch.tensor(FOR), torch.tensor(AGAINST))
    strength = (weights.abs().unsqueeze(-1) ** 0.7).mul(7).round() / 7
    return torch.tensor(NIGHT) + (color - torch.tensor(NIGHT)) * strength


def _picture(axes, image: Tensor) -> None:
    """An image without a frame."""
    axes.imshow(image.numpy(), interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _check(first: Tensor, second) -> None:
    if not len(first) or len(first) != len(second):
        raise ValueError(f"given {len(first)} and {len(second)}, expected as many of one as of the other, at least one")
