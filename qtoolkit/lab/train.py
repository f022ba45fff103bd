"""A short training loop, and the one number that the course judges networks by."""

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn import functional as F

from qtoolkit.lab.data import Digits
from qtoolkit.lab.progress import bar


def one_cycle(step: int, steps: int, warm_up: float = 0.1) -> float:
    """Factor on the learning rate at a step: a line from 0 to 1 over the first `warm_up` of all steps, then half a cosine to 0.

    >>> [round(one_cycle(step, 20), 2) for step in (0, 1, 2, 11, 19)]
    [0.5, 1.0, 1.0, 0.5, 0.01]
    """
    warm = max(1, round(warm_up * steps))
    if step < warm:
        return (step + 1) / warm
    return (1 + math.cos(math.pi * (step - warm) / (steps - warm))) / 2 if step < steps else 0.0


def fit(model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor, *, epochs: int, seed: int = 0, lr: float = 2e-3,
        batch_size: int = 128, dropout: tuple[float, float] | None = None, progress: bool = True) -> list[float]:
    """Train a classifier in place with Adam and a one-cycle learning rate; return the mean loss of each finished epoch.

    `inputs` (N, ...) float, `labels` (N,) int64. `dropout` = (p before the first Linear, p before every later Linear), only while
    training. Order and dropout depend on `seed` alone. Ctrl-C leaves the model as it was at the end of the last finished epoch and
    says so. The model comes back in evaluation mode.
    Raises ValueError for data that do not fit together and ArithmeticError when the loss is no longer finite.

    >>> x = torch.tensor([[-1.0], [1.0]]).repeat(32, 1)
    >>> losses = fit(nn.Linear(1, 2), x, (x[:, 0] > 0).long(), epochs=20, lr=0.1, batch_size=16)
    >>> len(losses), losses[-1] < losses[0]
    (20, True)

    See: book/chapters/00-start-here.ipynb#train-it-yourself
    """
    _check(inputs, labels, epochs, lr, batch_size, dropout)
    chance = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    steps = epochs * math.ceil(len(labels) / batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: one_cycle(step, steps))
    losses, kept = [], _snapshot(model)
    try:
        with _dropout(model, dropout, chance), bar(what="training", unit=" epochs", total=epochs, show=progress) as shown:
            for _ in range(epochs):
                order = torch.randperm(len(labels), generator=chance).split(batch_size)
                loss = _epoch(model.train(), ((inputs[rows], labels[rows]) for rows in order), optimizer, schedule)
                losses, kept = [*losses, loss], _snapshot(model)
                shown.set_postfix_str(f"loss {loss:.4f}")
                shown.update()
    except KeyboardInterrupt:
        model.load_state_dict(kept)
        print(f"Interrupted: the model is as it was after epoch {len(losses)} of {epochs}.", file=sys.stderr)
    model.eval()
    return losses


def error_percent(model: nn.Module, digits: Digits, batch_size: int = 1000) -> float:
    """Share of wrong answers, in percent: 100 * #(argmax of the logits != label) / N. The model's mode is left as it was.

    >>> right = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    >>> black = Digits(torch.zeros(4, 28, 28, dtype=torch.uint8), torch.tensor([0, 0, 0, 1]))
    >>> with torch.no_grad(): _ = right[1].bias.copy_(torch.eye(10)[0])
    >>> error_percent(right, black)
    25.0

    See: book/chapters/00-start-here.ipynb#how-good-is-it
    """
    return 100 * misread(model, digits, batch_size) / len(digits)


def misread(model: nn.Module, digits: Digits, batch_size: int = 1000) -> int:
    """How many answers are wrong. The model's mode is left as it was. Raises ValueError for no digits."""
    if not len(digits):
        raise ValueError("digits is empty, expected at least one image")
    training, wrong = model.training, 0
    model.eval()
    try:
        with torch.inference_mode():
            for start in range(0, len(digits), batch_size):
                part = digits[start:start + batch_size]
                wrong += int((model(part.inputs()).argmax(dim=1) != part.labels).sum())
    finally:
        model.train(training)
    return wrong


def _epoch(model: nn.Module, batches, optimizer, schedule) -> float:
    """One pass over the batches; the mean loss of all samples."""
    total, seen = 0.0, 0
    for inputs, labels in batches:
        loss = F.cross_entropy(model(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        total, seen = total + loss.item() * len(labels), seen + len(labels)
    if not math.isfinite(total):
        raise ArithmeticError(f"the loss became {total}: try a smaller learning rate")
    return total / seen


def _snapshot(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


@contextmanager
def _dropout(model: nn.Module, probabilities: tuple[float, float] | None, chance: torch.Generator) -> Iterator[None]:
    """Drop inputs of every Linear layer while the block runs: x -> x * mask / (1 - p), mask ~ Bernoulli(1 - p)."""
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)] if probabilities else []
    hooks = []
    for index, layer in enumerate(layers):
        p = probabilities[min(index, 1)]
        hooks.append(layer.register_forward_pre_hook(lambda _, args, p=p: (_drop(args[0], p, chance),)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _drop(x: torch.Tensor, p: float, chance: torch.Generator) -> torch.Tensor:
    return x * (torch.rand(x.shape, generator=chance) >= p) / (1 - p)


def _check(inputs: torch.Tensor, labels: torch.Tensor, epochs: int, lr: float, batch_size: int, dropout) -> None:
    if not torch.is_floating_point(inputs) or not bool(torch.isfinite(inputs).all()):
        raise ValueError(f"inputs are {inputs.dtype}, expected finite floats; for digits use digits.inputs()")
    if labels.dtype != torch.int64 or labels.shape != inputs.shape[:1] or not len(labels):
        raise ValueError(f"labels are {labels.dtype} {tuple(labels.shape)}, expected int64 ({len(inputs)},), at least one")
    if epochs < 1 or batch_size < 1 or not 0 < lr < math.inf:
        raise ValueError(f"epochs={epochs}, batch_size={batch_size}, lr={lr}: expected epochs and batch_size >= 1 and a positive lr")
    if dropout and not all(0 <= p < 1 for p in dropout):
        raise ValueError(f"dropout is {dropout}, expected two probabilities in [0, 1)")
