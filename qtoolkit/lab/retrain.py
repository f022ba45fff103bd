"""Training for compression: many copies of the digits, a teacher's answers, and something to do after every step."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qtoolkit.lab.augment import Augmentation, augmented
from qtoolkit.lab.progress import bar
from qtoolkit.training import teacher_divergence

TEMPERATURE, LABEL_SHARE = 2.0, 0.1


@dataclass(frozen=True, eq=False)
class Pool:
    """Training data: epoch e reads copy e mod copies. images: uint8 (copies, N, H, W); labels: int64 (N,); answers: a teacher's logits
    (copies, N, classes), or None.
    """

    images: Tensor
    labels: Tensor
    answers: Tensor | None = None

    def batch(self, epoch: int, rows: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Inputs (n, 1, H, W) in [0, 1], labels and teacher's logits of these rows."""
        copy = epoch % len(self.images)
        inputs = self.images[copy][rows].unsqueeze(1).float() / 255
        return inputs, self.labels[rows], None if self.answers is None else self.answers[copy][rows]


def pool_of(images: Tensor, labels: Tensor, kind: Augmentation | None, copies: int = 10, seed: int = 0) -> Pool:
    """The images as they are, or `copies` distorted copies of them."""
    if kind is None:
        return Pool(images.unsqueeze(0), labels)
    return Pool(torch.stack([augmented(images, kind, seed + copy) for copy in range(copies)]), labels)


@torch.inference_mode()
def answers(teachers: Sequence[nn.Module], pool: Pool, batch_size: int = 1000) -> Tensor:
    """Logits of the teachers for every image of the pool, averaged over the teachers: (copies, N, classes)."""
    pages = []
    for page in bar(pool.images, what="teacher", total=len(pool.images)):
        parts = [part.unsqueeze(1).float() / 255 for part in page.split(batch_size)]
        pages.append(torch.cat([sum(teacher(part) for teacher in teachers) / len(teachers) for part in parts]))
    return torch.stack(pages)


def distillation_loss(logits: Tensor, labels: Tensor, teacher: Tensor | None) -> Tensor:
    """0.1 cross-entropy + 0.9 T^2 KL(teacher || student) at T = 2 (Hinton et al. 2015); cross-entropy alone without a teacher."""
    hard = F.cross_entropy(logits, labels)
    return hard if teacher is None else LABEL_SHARE * hard + (1 - LABEL_SHARE) * teacher_divergence(logits, teacher, TEMPERATURE)


def held(step: int, steps: int, warm_up: float = 0.05, until: float = 0.5) -> float:
    """Factor on the learning rate: a short line up, 1 until the given part of all steps, then half a cosine to 0.

    >>> [round(held(step, 100), 2) for step in (0, 4, 50, 75, 99)]
    [0.2, 1.0, 1.0, 0.5, 0.0]
    """
    if step < round(warm_up * steps):
        return (step + 1) / round(warm_up * steps)
    return (1 + math.cos(math.pi * max(0.0, (step - until * steps) / (steps - until * steps)))) / 2


def steps_of(pool: Pool, epochs: int, batch_size: int = 128) -> int:
    """Optimizer steps in so many epochs."""
    return epochs * math.ceil(len(pool.labels) / batch_size)


def retrain(model: nn.Module, pool: Pool, *, epochs: int, lr: float, seed: int, parameters: Sequence | None = None,
            after_step: Callable[[], None] | None = None, batch_size: int = 128, what: str = "training") -> nn.Module:
    """Train `model` in place with Adam on the pool; `after_step()` is called after every step. Comes back in evaluation mode.

    Order and batches depend on `seed` alone. Raises ArithmeticError when the loss is no longer finite.
    """
    chance, steps = torch.Generator().manual_seed(seed), steps_of(pool, epochs, batch_size)
    optimizer = torch.optim.Adam(parameters or model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: held(step, steps))
    model.train()
    for epoch in bar(range(epochs), what=what, unit=" epochs", total=epochs):
        total = 0.0
        for rows in torch.randperm(len(pool.labels), generator=chance).split(batch_size):
            inputs, labels, teacher = pool.batch(epoch, rows)
            loss = distillation_loss(model(inputs), labels, teacher)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if after_step:
                after_step()
            total += loss.item()
        if not math.isfinite(total):
            raise ArithmeticError(f"the loss became {total} in epoch {epoch + 1}: try a smaller learning rate")
    return model.eval()
