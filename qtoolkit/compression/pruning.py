"""Pruning: which weights stay, on what schedule, and how the others stay exactly zero (Deep Compression, stage 1).

Two questions, two kinds of function. *Which weights matter?* A score per weight (`magnitude`, `activation_scores`) and a
rule that turns scores into boolean masks (`layer_masks`, `global_masks`, `std_masks`; `keep_tiles` ranks groups of weights). *When do
they go?* A schedule of densities (`iterative_densities`, `cubic_density`, `GradualPruning`). `Masks` keeps pruned weights at 0 through
training.

Density is the fraction of weights kept (the paper's "weights % (P)"), sparsity is 1 - density.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from qtoolkit.quantizers import _checks

Scores = Mapping[str, Tensor]


def weight_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The Linear and Conv layers of `model` by name, in order: the layers Deep Compression works on.

    >>> list(weight_layers(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))))
    ['0', '2']
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a {type(model).__name__}, expected a torch.nn.Module")
    kinds = (nn.Linear, nn.modules.conv._ConvNd)
    return {name: module for name, module in model.named_modules() if isinstance(module, kinds)}


def _weights(model: nn.Module) -> dict[str, nn.Parameter]:
    layers = weight_layers(model)
    if not layers:
        raise ValueError(f"{type(model).__name__} has no Linear or Conv layer, expected at least one to prune")
    if computed := [name for name, layer in layers.items() if not isinstance(layer.weight, nn.Parameter)]:
        raise ValueError(f"the weights of {computed} are computed from other parameters, expected plain ones; after share_ call unshare_ first")
    return {name: layer.weight for name, layer in layers.items()}


def magnitude(model: nn.Module) -> dict[str, Tensor]:
    """Score every weight by its absolute value |w| (Han et al. 2015, section 3).

    Returns {layer name: tensor shaped like its weight}.

    See: book/chapters/16-pruning.ipynb#which-weights-can-go
    """
    return {name: _checks.real_tensor(weight.detach(), f"{name}.weight").abs() for name, weight in _weights(model).items()}


@torch.no_grad()
def activation_scores(model: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
    """Score a weight by what it contributes: |w_ij| * rms(x_j), divided by the layer's rms score so that layers compare.

    rms(x_j) is taken over a batch at the layer's own input (per input channel for a convolution). Weights that look
    at a dead pixel or a dead unit score 0 and go first. Source: Sun et al. 2024 (Wanda), score only.

    See: book/chapters/16-pruning.ipynb#which-weights-can-go
    """
    scores = {}
    for name, rms in _input_rms(model, inputs).items():
        weight = _weights(model)[name].detach()
        if weight.shape[1] != rms.numel():
            raise ValueError(f"layer '{name}' has {rms.numel()} inputs in groups; activation_scores needs groups=1")
        score = weight.abs() * rms.reshape(1, -1, *[1] * (weight.dim() - 2))
        scores[name] = score / score.square().mean().sqrt().clamp_min(torch.finfo(score.dtype).tiny)
    return scores


def _input_rms(model: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
    """Root mean square of each input feature (Linear) or channel (Conv) of every weight layer."""
    found: dict[str, Tensor] = {}

    def watch(name: str, layer: nn.Module):
        channel = 1 if isinstance(layer, nn.modules.conv._ConvNd) else -1
        return lambda _, args: found.update({name: args[0].movedim(channel, -1).flatten(0, -2).square().mean(0).sqrt()})

    handles = [layer.register_forward_pre_hook(watch(name, layer)) for name, layer in weight_layers(model).items()]
    try:
        model(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return found


def keep_largest(scores: Tensor, density: float) -> Tensor:
    """Boolean mask of the round(density * n) largest scores; among equal scores the earlier position wins.

    >>> keep_largest(torch.tensor([0.1, 0.9, 0.5, 0.5]), density=0.5)
    tensor([False,  True,  True, False])

    See: book/chapters/16-pruning.ipynb#which-weights-can-go
    """
    density, flat = _density(density), _checks.real_tensor(scores, "scores").detach().flatten().float()
    kept = round(density * flat.numel())
    if kept == 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    threshold = float(np.partition(flat.numpy(), flat.numel() - kept)[flat.numel() - kept])     # a number: the copy is gone
    mask = flat > threshold
    ties = torch.nonzero(flat == threshold).flatten()
    mask[ties[: kept - int(mask.sum())]] = True
    return mask.reshape(scores.shape)


def keep_tiles(scores: Tensor, density: float, shape: tuple[int, int] = (16, 4)) -> Tensor:
    """Boolean mask (N, K) of the round(density * tiles) tiles of greatest L2 norm; among equal norms the earlier tile wins.

    scores: (N, K). A tile is shape[0] neighboring rows x shape[1] neighboring columns; those at the edges may be smaller. Tiles of
    16 outputs x 4 inputs are what `kernels.tile_sparse` skips. Raises ValueError for scores that are no matrix.
    Source: Mao et al. 2017 (coarse-grained sparsity, which saves indices and memory references).

    >>> keep_tiles(torch.tensor([[1.0, 0.0, 0.0, 0.9, 0.9], [0.0, 0.0, 0.0, 0.0, 0.0]]), density=0.5, shape=(1, 3))
    tensor([[ True,  True,  True,  True,  True],
            [False, False, False, False, False]])
    """
    if _checks.real_tensor(scores, "scores").dim() != 2:
        raise ValueError(f"scores has shape {tuple(scores.shape)}, expected a matrix (outputs, inputs)")
    (n, k), (rows, columns) = scores.shape, shape
    squares = nn.functional.pad(scores.detach().double().square(), (0, -k % columns, 0, -n % rows))
    tiles = squares.unflatten(0, (-1, rows)).unflatten(2, (-1, columns))
    kept = keep_largest(tiles.sum((1, 3)), density)
    return kept.repeat_interleave(rows, 0).repeat_interleave(columns, 1)[:n, :k]


def prune_tiles(weight: Tensor, density: float) -> Tensor:
    """The weight (N, K), reals or int8 codes, with all but the tiles of `keep_tiles` set to 0.

    >>> int((prune_tiles(torch.ones(32, 8, dtype=torch.int8), density=0.25) != 0).sum())     # one tile of four
    64
    """
    return weight * keep_tiles(weight if weight.is_floating_point() else weight.float(), density)


def layer_masks(scores: Scores, density: float | Mapping[str, float], keep: Callable = keep_largest) -> dict[str, Tensor]:
    """Rank inside each layer: keep a fraction `density` of every layer, or the fraction given for each layer's name.

    `keep(score, density)` makes the mask of a layer; `keep_tiles` leaves whole tiles.

    See: book/chapters/16-pruning.ipynb#three-rules-for-a-threshold
    """
    densities = density if isinstance(density, Mapping) else dict.fromkeys(scores, density)
    if set(densities) != set(scores):
        raise ValueError(f"densities are given for {sorted(densities)}, expected one for each of {sorted(scores)}")
    return {name: keep(score, densities[name]) for name, score in scores.items()}


def global_masks(scores: Scores, density: float) -> dict[str, Tensor]:
    """Rank all layers together: one threshold for the whole network, so layers end at different densities.

    See: book/chapters/16-pruning.ipynb#three-rules-for-a-threshold
    """
    mask = keep_largest(torch.cat([score.flatten() for score in scores.values()]), density)
    parts = mask.split([score.numel() for score in scores.values()])
    return {name: part.reshape(scores[name].shape) for name, part in zip(scores, parts)}


def std_masks(model: nn.Module, quality: float | Mapping[str, float]) -> dict[str, Tensor]:
    """Keep |w| > quality * std(w), layer by layer (Han et al. 2015: "quality parameter multiplied by the standard deviation").

    std is the population standard deviation of the layer's weights that are not already pruned.

    See: book/chapters/16-pruning.ipynb#three-rules-for-a-threshold
    """
    qualities = quality if isinstance(quality, Mapping) else dict.fromkeys(_weights(model), quality)
    masks = {}
    for name, score in magnitude(model).items():
        if not (math.isfinite(qualities[name]) and qualities[name] >= 0):
            raise ValueError(f"quality of '{name}' is {qualities[name]}, expected a number of at least 0")
        alive = _weights(model)[name].detach()[score > 0]
        masks[name] = score > qualities[name] * (alive.std(correction=0) if alive.numel() else 0.0)
    return masks


def _density(density: float) -> float:
    if isinstance(density, bool) or not isinstance(density, (int, float)):
        raise TypeError(f"density is {density!r}, expected a number from 0 to 1")
    if not 0 <= density <= 1:
        raise ValueError(f"density is {density}, expected a number from 0 (nothing kept) to 1 (everything kept)")
    return float(density)


class Masks:
    """Boolean masks over a model's weights that hold through any training: a pruned weight is exactly 0 after every step.

    Masking gradients is not enough: momentum gathered before the mask, and Adam's moments, still move a weight whose
    gradient is 0. So the rule is applied where it cannot be escaped, to the weight itself, after each optimizer step:

        w <- where(mask, w, 0)

    >>> model = nn.Linear(4, 2)
    >>> masks = Masks(model, layer_masks(magnitude(model), density=0.5))
    >>> optimizer = torch.optim.Adam(model.parameters())
    >>> handle = masks.hold(optimizer)              # from now on every optimizer.step() ends with masks.apply_()
    >>> round(masks.density(), 2)
    0.5

    See: book/chapters/16-pruning.ipynb#a-zero-that-stays-zero
    """

    def __init__(self, model: nn.Module, masks: Mapping[str, Tensor]):
        self._weights = _weights(model)
        self.masks: dict[str, Tensor] = {}
        self.update(masks)

    def update(self, masks: Mapping[str, Tensor]) -> None:
        """Replace the masks of the layers named in `masks`, then zero what is newly pruned. A layer without a mask stays dense."""
        for name, mask in masks.items():
            if name not in self._weights:
                raise ValueError(f"a mask is given for '{name}', expected one of the layers {list(self._weights)}")
            if mask.dtype != torch.bool or mask.shape != self._weights[name].shape:
                raise ValueError(f"the mask of '{name}' is {mask.dtype} {tuple(mask.shape)}, "
                                 f"expected torch.bool {tuple(self._weights[name].shape)}")
        self.masks.update({name: mask.clone() for name, mask in masks.items()})
        self.apply_()

    @torch.no_grad()
    def apply_(self) -> None:
        """Set every pruned weight to exactly 0, in place (NaN and infinity included: the mask selects, it does not multiply)."""
        for name, mask in self.masks.items():
            self._weights[name].masked_fill_(~mask, 0.0)

    def hold(self, optimizer: torch.optim.Optimizer) -> RemovableHandle:
        """Apply the masks after every step of `optimizer`, whatever its kind, until `remove()` of the returned handle."""
        return optimizer.register_step_post_hook(lambda *_: self.apply_())

    def densities(self) -> dict[str, float]:
        """Fraction of weights kept, by layer."""
        return {name: mask.float().mean().item() for name, mask in self.masks.items()}

    def density(self) -> float:
        """Fraction of all masked layers' weights kept."""
        return sum(int(mask.sum()) for mask in self.masks.values()) / sum(mask.numel() for mask in self.masks.values())


def prune_(model: nn.Module, density: float | Mapping[str, float], scores: Scores | None = None) -> Masks:
    """One-shot pruning in place, layer by layer; returns the masks, ready to hold through retraining.

    `scores` defaults to the weights' magnitude. For one threshold over all layers: `Masks(model, global_masks(scores, density))`.

    See: book/chapters/16-pruning.ipynb#prune-and-retrain
    """
    return Masks(model, layer_masks(magnitude(model) if scores is None else scores, density))


def iterative_densities(final: float, rounds: int) -> list[float]:
    """Densities of prune-retrain rounds, each keeping the same fraction of the last: d_k = final^(k / rounds).

    >>> iterative_densities(final=0.125, rounds=3)
    [0.5, 0.25, 0.125]

    See: book/chapters/16-pruning.ipynb#prune-and-retrain
    """
    if not 0 < _density(final) <= 1:
        raise ValueError(f"final is {final}, expected a density above 0")
    _checks.positive_int(rounds, "rounds")
    return [final if k == rounds else final ** (k / rounds) for k in range(1, rounds + 1)]


def cubic_density(step: int, start: int, stop: int, final: float, initial: float = 1.0) -> float:
    """Density at a training step of the gradual schedule: d_t = d_f + (d_i - d_f) (1 - (t - t_0) / (t_1 - t_0))^3.

    Constant before `start` and from `stop` on. Source: Zhu and Gupta 2017, eq. 1 (written there for sparsity).

    >>> [round(cubic_density(t, 0, 4, final=0.1), 3) for t in range(5)]
    [1.0, 0.48, 0.213, 0.114, 0.1]

    See: book/chapters/16-pruning.ipynb#prune-and-retrain
    """
    if stop <= start:
        raise ValueError(f"start is {start} and stop is {stop}, expected start < stop")
    remaining = 1 - min(max((step - start) / (stop - start), 0.0), 1.0)
    return _density(final) + (_density(initial) - final) * remaining**3


class GradualPruning:
    """Prune along a cubic schedule during training: call `step()` once after each optimizer step.

    Masks are chosen anew every `every` steps until `stop`, and once more exactly at `stop`, so that a schedule whose
    length is no multiple of `every` still reaches its density. `choose(density) -> masks` defaults to magnitude inside
    each layer; final densities may differ by layer.

    See: book/chapters/16-pruning.ipynb#prune-and-retrain
    """

    def __init__(self, model: nn.Module, final: float | Mapping[str, float], stop: int, start: int = 0, every: int = 50,
                 choose: Callable[[Mapping[str, float]], Mapping[str, Tensor]] | None = None):
        names = list(_weights(model))
        self.final = dict(final) if isinstance(final, Mapping) else dict.fromkeys(names, final)
        self.start, self.stop, self.every, self.steps = start, stop, _checks.positive_int(every, "every"), 0
        cubic_density(0, start, stop, max(self.final.values()))
        self.choose = choose or (lambda density: layer_masks(magnitude(model), density))
        self.masks = Masks(model, {name: torch.ones_like(w, dtype=torch.bool) for name, w in _weights(model).items()})

    def step(self) -> None:
        """Count one training step; choose new masks when the schedule says so, and zero what is pruned."""
        self.steps += 1
        if self.start < self.steps <= self.stop and (self.steps % self.every == 0 or self.steps == self.stop):
            density = {name: cubic_density(self.steps, self.start, self.stop, d) for name, d in self.final.items()}
            self.masks.update(self.choose(density))
        self.masks.apply_()


def sensitivity_scan(model: nn.Module, evaluate: Callable[[nn.Module], float],
                     densities: tuple[float, ...] = (0.8, 0.6, 0.4, 0.2, 0.1, 0.05)) -> dict[str, list[tuple[float, float]]]:
    """Prune one layer at a time, no retraining: {layer: [(density, evaluate(model)), ...]} (Han et al. 2015, figure 6).

    The model leaves as it came, bit for bit, even when `evaluate` raises.

    See: book/chapters/16-pruning.ipynb#how-much-can-each-layer-lose
    """
    scan = {}
    for name, score in magnitude(model).items():
        scan[name] = []
        for density in densities:
            with _restored(_weights(model)[name]):
                Masks(model, {name: keep_largest(score, density)})
                scan[name].append((density, evaluate(model)))
    return scan


@contextmanager
def _restored(weight: nn.Parameter) -> Iterator[None]:
    saved = weight.detach().clone()
    try:
        yield
    finally:
        with torch.no_grad():
            weight.copy_(saved)
