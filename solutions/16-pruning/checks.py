"""Checks of chapter 16: masks and ties, momentum and masks, the cubic schedule, bytes of CSR and CSC, a relative index with bugs."""

import math

import numpy as np
import torch

from qtoolkit.check import Case, Exercise, Mistake


def _ints(generator, size, low, high):
    return torch.randint(low, high + 1, (size,), generator=generator).tolist()


# ---------------------------------------------------------------- exactly this many


def keep(weights, density):
    kept = round(density * len(weights))
    order = sorted(range(len(weights)), key=lambda i: -abs(weights[i]))
    return [i in order[:kept] for i in range(len(weights))]


def keep_cases(generator):
    quarters = [n / 4 for n in _ints(generator, 12, -9, 9)]
    distinct = [(n + 1) / 8 * (-1) ** n for n in torch.randperm(10, generator=generator).tolist()]
    calls = {
        "all different": (distinct, 0.3),
        "large and negative": ([0.5, -3.0, 1.0, -2.0, 0.25, 0.75], 0.5),
        "ties at the threshold": ([1.0, 2.0, 1.0, 3.0, 1.0, 1.0], 0.5),
        "all equal": ([0.5, -0.5, 0.5, 0.5, -0.5], 0.4),
        "many ties": (quarters, 0.5),
        "rounding down": (distinct[:7], 0.3),
        "rounding up": (distinct[:9], 0.3),
        "zeros among the kept": ([0.0, 2.0, 0.0, 0.0, -1.0], 0.8),
        "nothing kept": (distinct[:4], 0.0),
        "everything kept": (distinct[:5], 1.0),
    }
    return [Case(name, {"weights": weights, "density": density}) for name, (weights, density) in calls.items()]


def _kp_argsort(weights, density):
    mask = np.zeros(len(weights), bool)
    mask[np.argsort(-np.abs(weights), kind="stable")[: round(density * len(weights))]] = True
    return mask.tolist()


def _kp_threshold(weights, density):
    size = np.abs(np.array(weights))
    kept = round(density * len(size))
    if kept == 0:
        return [False] * len(size)
    threshold = np.sort(size)[len(size) - kept]
    mask = size > threshold
    mask[np.nonzero(size == threshold)[0][: kept - mask.sum()]] = True
    return mask.tolist()


def _kp_rank(weights, density):
    kept = round(density * len(weights))
    return [sum(abs(other) > abs(w) or (abs(other) == abs(w) and j < i) for j, other in enumerate(weights)) < kept for i, w in enumerate(weights)]


def _kp(key=abs, count=lambda d, n: round(d * n), best=True, early=True):
    """A family of answers: each argument is one decision that can go wrong."""
    def answer(weights, density):
        order = sorted(range(len(weights)), key=lambda i: ((-1 if best else 1) * key(weights[i]), i if early else -i))
        chosen = set(order[: count(density, len(weights))])
        return [i in chosen for i in range(len(weights))]
    return answer


def _at_threshold(compare):
    def answer(weights, density):
        kept = round(density * len(weights))
        if kept == 0:
            return [False] * len(weights)
        threshold = sorted(map(abs, weights))[len(weights) - kept]
        return [compare(abs(w), threshold) for w in weights]
    return answer


def _quantile(weights, density):
    return [bool(abs(w) > np.quantile(np.abs(weights), 1 - density)) for w in weights]


KEEP = Exercise(
    name="ch16.keep",
    title="Exactly this many",
    section="which-weights-can-go",
    hints=("A threshold alone cannot cut between equal weights. Think of ranks: which weights are among the first k?",
           "k = round(density * n). Sort the places by magnitude, largest first; a stable sort leaves equal ones in their order. The first k places are kept.",
           "order = np.argsort(-np.abs(weights), kind='stable'); kept = set(order[:k].tolist()); return [i in kept for i in range(n)]."),
    cases=keep_cases,
    reference=keep,
    alternatives=(_kp_argsort, _kp_threshold, _kp_rank),
    mistakes=(
        Mistake(_at_threshold(lambda w, t: w >= t), "your mask keeps every weight that equals the threshold, so ties give more than the density asks for. Keep exactly k."),
        Mistake(_at_threshold(lambda w, t: w > t), "the comparison with > drops the threshold's own weight, and all of its ties. Keep exactly k."),
        Mistake(_kp(key=lambda w: w), "you compared the weights with their signs: a large negative weight is not small. Compare magnitudes."),
        Mistake(_kp(best=False), "you kept the smallest weights. They are the ones to go."),
        Mistake(_kp(count=lambda d, n: n - round(d * n)), "you kept the sparsity instead of the density. The density is the part that stays."),
        Mistake(_kp(count=lambda d, n: math.floor(d * n)), "you rounded down. The number kept is round(density * n)."),
        Mistake(_kp(count=lambda d, n: math.ceil(d * n)), "you rounded up. The number kept is round(density * n)."),
        Mistake(_kp(early=False), "among equal weights you kept the later one. The earlier position wins."),
        Mistake(_quantile, "a quantile interpolates between weights and says nothing about ties. Choose the number of weights first, then the weights."),
        Mistake(lambda weights, density: [not m for m in keep(weights, density)], "your mask is the wrong way round: True means kept."),
        Mistake(lambda weights, density: keep(weights[::-1], density)),
        Mistake(_kp(count=lambda d, n: round(d * n) + 1)),
        Mistake(lambda weights, density: [True] * len(weights)),
    ),
)

# ---------------------------------------------------------------- a zero that stays


def hold(weights, mask, gradients, velocity, rate, momentum):
    path = []
    for gradient in gradients:
        velocity = [momentum * v + g for v, g in zip(velocity, gradient)]
        weights = [w - rate * v if m else 0.0 for w, v, m in zip(weights, velocity, mask)]
        path.append(weights)
    return path


def hold_cases(generator):
    def numbers(size):
        return [n / 4 for n in _ints(generator, size, -8, 8)]

    def case(mask, steps, momentum, rate=0.5, velocity=None, weights=None, gradients=None):
        n = len(mask)
        return {"weights": weights or [v or 0.5 for v in numbers(n)], "mask": [bool(m) for m in mask],
                "gradients": gradients or [[v or 0.25 for v in numbers(n)] for _ in range(steps)],
                "velocity": velocity or [v or 1.0 for v in numbers(n)], "rate": rate, "momentum": momentum}

    calls = {
        "one step, no momentum": case([1, 0, 1], 1, 0.0),
        "momentum from before the cut": case([1, 0], 2, 0.5, velocity=[1.0, 4.0], gradients=[[0.5, 0.0], [0.25, 0.0]]),
        "pruned weights that are not 0 yet": case([0, 1, 0], 1, 0.5, weights=[3.0, 1.0, -2.0]),
        "several steps": case([1, 0, 1, 0], 4, 0.5),
        "nothing pruned": case([1, 1], 3, 0.5),
        "everything pruned": case([0, 0], 2, 0.5),
        "a velocity that overflowed": case([1, 0], 2, 0.5, velocity=[1.0, math.inf]),
    }
    return [Case(name, arguments) for name, arguments in calls.items()]


def _hd_numpy(weights, mask, gradients, velocity, rate, momentum):
    w, v, path = np.array(weights), np.array(velocity), []
    for g in gradients:
        v = momentum * v + np.array(g)
        w = np.where(mask, w - rate * v, 0.0)
        path.append(w.tolist())
    return path


def _hd_torch(weights, mask, gradients, velocity, rate, momentum):
    w, v, m = torch.tensor(weights, dtype=torch.float64), torch.tensor(velocity, dtype=torch.float64), torch.tensor(mask)
    path = []
    for g in gradients:
        v = v.mul(momentum).add(torch.tensor(g, dtype=torch.float64))
        w = w.sub(v, alpha=rate).masked_fill(~m, 0.0)
        path.append(w.tolist())
    return path


def _hd_each(weights, mask, gradients, velocity, rate, momentum):
    columns = []
    for w, m, v, path in zip(weights, mask, velocity, zip(*gradients)):
        column = []
        for g in path:
            v = momentum * v + g
            w = w - rate * v if m else 0.0
            column.append(w)
        columns.append(column)
    return [list(row) for row in zip(*columns)]


def _hd(before=False, gradient=False, wipe=False, after=False, forget=False, damp=False, ahead=False, sign=-1, old=False, rated=True):
    """The step with some of the places where a mask could be applied."""
    def answer(weights, mask, gradients, velocity, rate, momentum):
        w, v, m, path = np.array(weights), np.array(velocity), np.array(mask), []
        w = np.where(m, w, 0.0) if before else w
        for g in gradients:
            g = np.where(m, g, 0.0) if gradient else np.array(g)
            previous = v
            v = (np.zeros(len(v)) if forget else momentum * v) + ((1 - momentum) * g if damp else g)
            v = np.where(m, v, 0.0) if wipe else v
            step = momentum * v + g if ahead else previous if old else v
            w = w + sign * (rate if rated else 1.0) * step
            w = np.where(m, w, 0.0) if after else w
            path.append(w.tolist())
        return path
    return answer


def _multiplied(weights, mask, gradients, velocity, rate, momentum):
    w, v, path = np.array(weights), np.array(velocity), []
    with np.errstate(invalid="ignore"):
        for g in gradients:
            v = momentum * v + np.array(g)
            w = (w - rate * v) * np.array(mask, float)
            path.append([float(x) for x in w])
    return path


def _only_last(weights, mask, gradients, velocity, rate, momentum):
    return [hold(weights, mask, gradients, velocity, rate, momentum)[-1]]


def _at_the_end(weights, mask, gradients, velocity, rate, momentum):
    path = _hd()(weights, mask, gradients, velocity, rate, momentum)
    return [*path[:-1], [w if m else 0.0 for w, m in zip(path[-1], mask)]]


HOLD = Exercise(
    name="ch16.hold",
    title="A zero that stays",
    section="a-zero-that-stays-zero",
    hints=("Follow one pruned weight through a step: gradient, velocity, weight. Where can it leave 0?",
           "Do the usual step for all weights, v = momentum * v + g and w = w - rate * v. Then set every weight with mask False to 0.0, in each step. "
           "Choose, do not multiply.",
           "weights = [w - rate * v if m else 0.0 for w, v, m in zip(weights, velocity, mask)], then path.append(weights)."),
    cases=hold_cases,
    reference=hold,
    alternatives=(_hd_numpy, _hd_torch, _hd_each),
    tolerance=1e-9,
    mistakes=(
        Mistake(_hd(before=True, gradient=True), "you masked the gradients and the weights once. The velocity from before the cut still moves pruned weights: mask the weights after each step."),
        Mistake(_hd(gradient=True), "you masked only the gradients. A weight moves by its velocity: mask the weights after each step."),
        Mistake(_hd(before=True), "you set pruned weights to 0 once, before the first step. The first step wakes them: mask after each one."),
        Mistake(_hd(wipe=True), "you masked the velocity. A pruned weight that is not 0 yet then stays where it is: mask the weight itself."),
        Mistake(_at_the_end, "you masked after the last step only. In between, the network computes with weights that should be gone."),
        Mistake(_multiplied, "you multiplied by the mask. 0 times infinity is not a number: select with the mask instead."),
        Mistake(_hd(), "there is no mask in your step: pruned weights are trained like the others."),
        Mistake(_hd(after=True, forget=True), "your momentum is lost: the velocity starts at 0 in each step. v = momentum * v + g."),
        Mistake(_hd(after=True, damp=True), "you took a mean of velocity and gradient. This momentum adds the whole gradient: v = momentum * v + g."),
        Mistake(_hd(after=True, old=True), "you moved by the velocity of the step before. Update the velocity first."),
        Mistake(_hd(after=True, sign=1), "you climb: the step goes against the velocity, w - rate * v."),
        Mistake(_only_last, "you returned the last weights only. Return the weights after each step."),
        Mistake(_hd(after=True, ahead=True)),
        Mistake(_hd(after=True, rated=False)),
        Mistake(_hd(after=True, wipe=True, forget=True, rated=False)),
    ),
)

# ---------------------------------------------------------------- the cubic schedule


def schedule(step, start, stop, final):
    remaining = 1 - min(max((step - start) / (stop - start), 0.0), 1.0)
    return final + (1 - final) * remaining**3


def schedule_cases(generator):
    start, length, final = _ints(generator, 1, 3, 40)[0], 4 * _ints(generator, 1, 3, 60)[0], _ints(generator, 1, 1, 12)[0] / 64
    calls = {
        "the first step": (0, 0, length, final),
        "half-way": (length // 2, 0, length, final),
        "half-way, a later start": (start + length // 2, start, start + length, final),
        "a quarter of the way": (length // 4, 0, length, final),
        "the last step": (start + length, start, start + length, final),
        "before the start": (start - 2, start, start + length, final),
        "long after the end": (start + 3 * length, start, start + length, final),
        "nothing to prune": (length // 2, 0, length, 1.0),
        "down to nothing": (length // 2, 0, length, 0.0),
    }
    return [Case(name, dict(zip(("step", "start", "stop", "final"), values))) for name, values in calls.items()]


def _sc_sparsity(step, start, stop, final):
    step = min(max(step, start), stop)
    sparsity = (1 - final) + (0 - (1 - final)) * (1 - (step - start) / (stop - start)) ** 3
    return 1 - sparsity


def _sc_branches(step, start, stop, final):
    if step <= start:
        return 1.0
    if step >= stop:
        return final
    left = (stop - step) / (stop - start)
    return left**3 + final * (1 - left**3)


def _sc_numpy(step, start, stop, final):
    share = np.interp(step, [start, stop], [1.0, 0.0])
    return float(np.polyval([1 - final, 0, 0, final], share))


def _sc(power=3, clamp=(True, True), shape=None, span=lambda start, stop: (start, stop), ends=lambda final: (1.0, final)):
    def answer(step, start, stop, final):
        begin, end = span(start, stop)
        share = (step - begin) / (end - begin)
        share = max(share, 0.0) if clamp[0] else share
        share = min(share, 1.0) if clamp[1] else share
        first, last = ends(final)
        remaining = shape(share) if shape else (1 - share) ** power
        return last + (first - last) * remaining
    return answer


SCHEDULE = Exercise(
    name="ch16.schedule",
    title="The cubic schedule",
    section="prune-and-retrain",
    hints=("Ask for the ends first: what is the density at the start, at the end, before and after?",
           "Let s be the part of the way, (step - start) / (stop - start), held between 0 and 1. The density is final + (1 - final) (1 - s)^3.",
           "s = min(max((step - start) / (stop - start), 0), 1); return final + (1 - final) * (1 - s) ** 3."),
    cases=schedule_cases,
    reference=schedule,
    alternatives=(_sc_sparsity, _sc_branches, _sc_numpy),
    tolerance=1e-9,
    mistakes=(
        Mistake(lambda step, start, stop, final: 1 - schedule(step, start, stop, final), "this is the sparsity, the part removed, as Zhu and Gupta write it. The density is one minus that."),
        Mistake(_sc(power=1), "this is a straight line. The cubic schedule prunes fast at first: (1 - s)^3."),
        Mistake(_sc(power=2), "the exponent is 3, not 2."),
        Mistake(_sc(shape=lambda s: 1 - s**3), "you took 1 - s^3, which prunes slowly at first and fast at the end. It is (1 - s)^3."),
        Mistake(_sc(clamp=(True, False)), "after the end the schedule goes on: the cube becomes negative. Hold s at 1."),
        Mistake(_sc(clamp=(False, True)), "before the start the density is above 1. Hold s at 0."),
        Mistake(_sc(clamp=(False, False)), "you do not hold s between 0 and 1: before the start and after the end the density must stay."),
        Mistake(_sc(span=lambda start, stop: (0, stop)), "you count from step 0. The way begins at start and is stop - start long."),
        Mistake(_sc(span=lambda start, stop: (start, start + stop)), "you divide by stop. The way is stop - start long."),
        Mistake(_sc(ends=lambda final: (final, 1.0)), "the ends are exchanged: everything is kept at the start, final at the end."),
        Mistake(_sc(ends=lambda final: (1.0 + final, final)), "the whole drop is 1 - final, not 1: at the start the density must be 1."),
        Mistake(lambda step, start, stop, final: final ** min(max((step - start) / (stop - start), 0.0), 1.0),
                "this keeps the same part in every step, as the iterative rounds do. The gradual schedule is cubic."),
        Mistake(lambda step, start, stop, final: schedule(step, start, stop, final) + 0.01),
        Mistake(lambda step, start, stop, final: final),
        Mistake(lambda step, start, stop, final: schedule(step + 1, start, stop, final)),
    ),
)

# ---------------------------------------------------------------- the price of a place


def _narrowest(largest):
    return next(width for width in (1, 2, 4, 8) if largest < 256**width)


def sparse_bytes(rows, columns, kept):
    return (4 * kept + _narrowest(columns - 1) * kept + _narrowest(kept) * (rows + 1),
            4 * kept + _narrowest(rows - 1) * kept + _narrowest(kept) * (columns + 1))


def bytes_cases(generator):
    some, many = _ints(generator, 1, 20, 90)[0], _ints(generator, 1, 20_000, 25_000)[0]
    calls = {
        "the chapter's small matrix": (3, 2, 3),
        "the first layer": (300, 784, many),
        "the layer in the middle": (100, 300, 3000 + some),
        "256 columns: the last is 255": (40, 256, some),
        "257 columns": (40, 257, some),
        "a start of 256": (20, 30, 256),
        "a start of 255": (20, 30, 255),
        "more than 65,535 kept": (1000, 400, 65_536 + some),
        "very wide": (10, 70_000, 500 + some),
        "nothing kept": (12, 12, 0),
    }
    return [Case(name, dict(zip(("rows", "columns", "kept"), values))) for name, values in calls.items()]


def _by_numpy(rows, columns, kept):
    def one(lines, across):
        index = np.min_scalar_type(max(across - 1, 0)).itemsize
        return kept * (np.dtype("f4").itemsize + index) + (lines + 1) * np.min_scalar_type(kept).itemsize

    return one(rows, columns), one(columns, rows)


def _by_bit_length(rows, columns, kept):
    def width(largest):
        size = 1
        while 8 * size < int(largest).bit_length():
            size *= 2
        return size

    return tuple(kept * (4 + width(across - 1)) + width(kept) * (lines + 1) for lines, across in ((rows, columns), (columns, rows)))


def _by_steps(rows, columns, kept):
    totals = []
    for lines, across in ((rows, columns), (columns, rows)):
        total = 4 * kept
        total += kept * (1 if across <= 256 else 2 if across <= 65_536 else 4)
        total += (lines + 1) * (1 if kept <= 255 else 2 if kept <= 65_535 else 4)
        totals.append(total)
    return tuple(totals)


def _by(value=4, index=lambda across, kept: _narrowest(across - 1), start=lambda kept, lines: _narrowest(kept), starts=lambda lines: lines + 1, own=False):
    def one(lines, across, kept):
        return value * kept + index(lines if own else across, kept) * kept + start(kept, lines) * starts(lines)
    return lambda rows, columns, kept: (one(rows, columns, kept), one(columns, rows, kept))


SPARSE_BYTES = Exercise(
    name="ch16.bytes",
    title="The price of a place",
    section="compressed-rows-and-columns",
    hints=("Three lists: how many numbers has each, and what is the largest number in it?",
           "CSR: kept values of 4 bytes; kept columns, the largest is columns - 1; rows + 1 starts, the largest is kept. "
           "A list takes the narrowest of 1, 2, 4, 8 bytes that holds its largest number; one byte holds up to 255.",
           "CSR is 4 * kept + narrowest(columns - 1) * kept + narrowest(kept) * (rows + 1); CSC exchanges rows and columns."),
    cases=bytes_cases,
    reference=sparse_bytes,
    alternatives=(_by_numpy, _by_bit_length, _by_steps),
    mistakes=(
        Mistake(_by(starts=lambda lines: lines), "you count one start a line. There is one more: the end of the last line."),
        Mistake(_by(starts=lambda lines: 0), "you left out the starts of the lines: rows + 1 of them in CSR."),
        Mistake(_by(index=lambda across, kept: _narrowest(across)), "a matrix of 256 columns has columns 0 to 255, which one byte holds. Take the width of columns - 1."),
        Mistake(_by(start=lambda kept, lines: _narrowest(kept - 1) if kept else 1), "the last start is the number of kept weights itself, so 256 of them need two bytes. Take the width of kept."),
        Mistake(_by(own=True), "you used the number of rows for the width of a column index. In CSR an index is a column, below the number of columns."),
        Mistake(_by(index=lambda across, kept: 4, start=lambda kept, lines: 4), "you took 4 bytes for every index. Take the narrowest of 1, 2, 4 and 8 that holds the largest number of the list."),
        Mistake(_by(start=lambda kept, lines: _narrowest(lines)), "a start counts weights, not lines: its largest value is kept."),
        Mistake(_by(value=0), "you left out the values: 4 bytes for each kept weight."),
        Mistake(_by(value=8), "a float32 value takes 4 bytes."),
        Mistake(lambda rows, columns, kept: sparse_bytes(rows, columns, kept)[::-1], "the two sizes are exchanged: first CSR, by rows, then CSC, by columns."),
        Mistake(lambda rows, columns, kept: (2 * kept + rows + 1, 2 * kept + columns + 1), "this counts numbers, 2a + n + 1. The question is bytes."),
        Mistake(lambda rows, columns, kept: tuple(8 * size for size in sparse_bytes(rows, columns, kept)), "these are bits. Divide by 8."),
        Mistake(lambda rows, columns, kept: (kept * 6 + 4 * rows, kept * 6 + 4 * columns)),
        Mistake(_by(index=lambda across, kept: _narrowest(kept))),
        Mistake(lambda rows, columns, kept: (4 * rows * columns, 4 * rows * columns)),
    ),
)

# ---------------------------------------------------------------- find the bug


def stored(row, bits):
    pairs, at = [], -1
    for place, value in enumerate(row):
        if value:
            while place - at > 2**bits:
                at += 2**bits
                pairs.append([2**bits, 0])
            pairs.append([place - at, value])
            at = place
    return pairs


def index_cases(generator):
    def row(distances):
        values = [1 + v for v in _ints(generator, len(distances), 0, 8)]
        return [x for distance, value in zip(distances, values) for x in [*[0] * (distance - 1), value]]

    sparse = row([d for d in _ints(generator, 6, 1, 11)])
    calls = {
        "the colleague's example": (row([2, 3, 2]), 3),
        "a weight at place 0": (row([1, 2, 1]), 2),
        "exactly the longest gap": (row([2, 4, 1]), 2),
        "exactly twice the longest gap": (row([1, 8, 2]), 2),
        "one place too far": (row([2, 5, 3]), 2),
        "two fillers in a row": (row([3, 10, 2]), 2),
        "zeros after the last weight": (row([2, 2]) + [0] * 6, 2),
        "the chapter's row": (row([2, 3, 11]), 3),
        "any row": (sparse, 2),
        "nothing kept": ([0] * 5, 2),
    }
    return [Case(name, {"row": numbers, "bits": bits}) for name, (numbers, bits) in calls.items()]


def _fb(origin=-1, needs=lambda distance, most: distance > most, forward=lambda at, most: at + most, last=lambda place, at: place):
    """The colleague's function, some of its three bugs repaired."""
    def answer(row, bits):
        pairs, at, most = [], origin, 2**bits
        for place, value in enumerate(row):
            if value:
                before = at
                while needs(place - at, most):
                    at = forward(at, most)
                    pairs.append([most, 0])
                pairs.append([place - at, value])
                at = last(place, before)
        return pairs
    return answer


def _late(distance, most):
    return distance >= most


def _short(at, most):
    return at + most - 1


def _fb_divided(row, bits):
    pairs, last, most = [], -1, 1 << bits
    for place in np.flatnonzero(row):
        fillers, rest = divmod(int(place) - last - 1, most)
        pairs += [[most, 0]] * fillers + [[rest + 1, row[place]]]
        last = int(place)
    return pairs


def _fb_counting(row, bits):
    pairs, zeros = [], 0
    for value in row:
        if value:
            pairs.append([zeros + 1, value])
            zeros = 0
        else:
            zeros += 1
            if zeros == 2**bits:
                pairs.append([2**bits, 0])
                zeros = 0
    while pairs and pairs[-1][1] == 0:
        pairs.pop()
    return pairs


def _fb_torch(row, bits):
    places = torch.nonzero(torch.tensor(row)).flatten()
    pairs = []
    for place, distance in zip(places.tolist(), places.diff(prepend=torch.tensor([-1])).tolist()):
        pairs += [[2**bits, 0] for _ in range((distance - 1) >> bits)]
        pairs.append([(distance - 1) % 2**bits + 1, row[place]])
    return pairs


def _trailing(row, bits):
    pairs, zeros = [], 0
    for value in row:
        zeros += 1
        if value or zeros == 2**bits:
            pairs.append([zeros, value])
            zeros = 0
    return pairs


def _smaller_most(row, bits):
    """Gaps up to 2^bits - 1 only."""
    pairs, at, most = [], -1, 2**bits - 1
    for place, value in enumerate(row):
        if value:
            while place - at > most:
                at += most
                pairs.append([most, 0])
            pairs.append([place - at, value])
            at = place
    return pairs


def _one_filler(row, bits):
    pairs, at, most = [], -1, 2**bits
    for place, value in enumerate(row):
        if value:
            if place - at > most:
                at += most
                pairs.append([most, 0])
            pairs.append([place - at, value])
            at = place
    return pairs


FIND_THE_BUG = Exercise(
    name="ch16.find_the_bug",
    title="Find the bug",
    section="gaps-and-fillers",
    hints=("Three questions: what is the gap of a weight at place 0? When exactly is a filler needed? How far does a filler carry you?",
           "Count from -1. A gap may be 1 to 2^bits, so a filler is needed only when the distance is larger than 2^bits; each filler moves on by all of 2^bits.",
           "at = -1; while place - at > 2**bits: at += 2**bits and append [2**bits, 0]; then append [place - at, value] and at = place."),
    cases=index_cases,
    reference=stored,
    alternatives=(_fb_divided, _fb_counting, _fb_torch),
    mistakes=(
        Mistake(_fb(origin=0, needs=_late, forward=_short), "all three bugs are still there. Start with a weight at place 0: which gap does it get?"),
        Mistake(_fb(origin=0), "one bug is left. A weight at place 0 gets gap 0, which cannot be stored: count from place -1."),
        Mistake(_fb(needs=_late), "one bug is left. A distance of exactly 2^bits still fits a gap: a filler is needed only beyond it."),
        Mistake(_fb(forward=_short), "one bug is left. A filler of gap 2^bits moves on by 2^bits places, not by one less."),
        Mistake(_fb(needs=_late, forward=_short), "the start is repaired. Two bugs are left: when a filler is needed, and how far it carries."),
        Mistake(_fb(origin=0, forward=_short), "the condition is repaired. Two bugs are left: the place before the first, and how far a filler carries."),
        Mistake(_fb(origin=0, needs=_late), "the filler's step is repaired. Two bugs are left: the place before the first, and when a filler is needed."),
        Mistake(_smaller_most, "your longest gap is 2^bits - 1. Files store the gap minus one, so 2^bits is possible."),
        Mistake(_one_filler, "you write one filler at most. A long distance needs several: repeat while it is too long."),
        Mistake(_trailing, "you write fillers for zeros behind the last weight. Nothing follows them, so they are not stored."),
        Mistake(lambda row, bits: [[gap - 1, value] for gap, value in stored(row, bits)], "you return the stored numbers, gap minus one. The question asks for the gaps themselves."),
        Mistake(lambda row, bits: [pair for pair in stored(row, bits) if pair[1]], "you left out the fillers. Without them a reader puts every later weight in a wrong place."),
        Mistake(_fb(last=lambda place, before: before)),
        Mistake(lambda row, bits: stored(row[::-1], bits)[::-1] or [[1, 1]]),
        Mistake(lambda row, bits: stored(row, bits + 1) + [[0, 0]]),
    ),
)

EXERCISES = [KEEP, HOLD, SCHEDULE, SPARSE_BYTES, FIND_THE_BUG]
