"""Checks of chapter 06. How such a file is built: solutions/02-uniform-quantization/checks.py."""

from bisect import bisect_right
from collections import defaultdict
from itertools import product

import torch

from qtoolkit.check import AnyWrong, Case, Exercise, Mistake


def whole(generator, low, high):
    """A drawn integer from low to high."""
    return int(torch.randint(low, high + 1, (1,), generator=generator))


# ---------------------------------------------------------------- nearest level


def nearest_level(x, levels):
    return torch.bucketize(x, (levels[:-1] + levels[1:]) / 2, right=True)


def level_cases(generator):
    step = 2.0 ** whole(generator, -2, 2)
    uneven = step * torch.tensor([-5.0, -1.0, 0.0, 0.5, 4.0])
    inside = step * (torch.rand(6, generator=generator) * 9 - 5)
    halves = (uneven[:-1] + uneven[1:]) / 2
    positive = torch.tensor([1.0, 2.0, 5.0]) + whole(generator, 0, 3)
    calls = {
        "numbers among uneven levels": (inside, uneven),
        "beyond the first and the last level": (step * torch.tensor([-99.0, 77.0]), uneven),
        "exactly halfway": (halves, uneven),
        "the levels themselves": (uneven.flip(0), uneven),
        "levels that are all positive": (torch.tensor([-3.0, 0.0, 2.4, 3.4, 9.0]), positive),
        "two levels": (torch.tensor([-0.5, 0.2, 0.9, 4.0]), torch.tensor([-1.0, 2.0])),
        "a matrix that is not contiguous in memory": (torch.randn(3, 4, generator=generator).T * 3, torch.tensor([-2.0, -0.5, 0.0, 3.0])),
    }
    return [Case(name, {"x": x, "levels": levels}) for name, (x, levels) in calls.items()]


def _nl_argmin(x, levels):
    return len(levels) - 1 - (x[..., None] - levels.flip(0)).abs().argmin(-1)


def _nl_count(x, levels):
    return (x[..., None] >= (levels[1:] + levels[:-1]) * 0.5).sum(-1)


def _nl_loop(x, levels):
    bounds = [(a + b) / 2 for a, b in zip(levels.tolist(), levels.tolist()[1:])]
    return torch.tensor([bisect_right(bounds, v) for v in x.flatten().tolist()]).reshape(x.shape)


def _by_bounds(bounds, right=True):
    """A family of answers: which boundaries, and who owns a boundary."""
    return lambda x, levels: torch.bucketize(x, bounds(levels), right=right)


def _halves(levels):
    return (levels[:-1] + levels[1:]) / 2


def _nl_uniform(x, levels):
    scale = (levels[-1] - levels[0]) / (len(levels) - 1)
    return torch.floor((x - levels[0]) / scale + 0.5).clamp(0, len(levels) - 1).long()


NEAREST_LEVEL = Exercise(
    name="ch06.nearest_level",
    title="Nearest level",
    section="any-levels-at-all",
    hints=("A number changes its level halfway between two levels. Those halfway points are the boundaries; "
           "a code is the number of boundaries at or below x.",
           "There are k - 1 boundaries for k levels: the means of neighbors. torch.bucketize counts boundaries; "
           "its argument right decides who owns a tie.",
           "boundaries = (levels[:-1] + levels[1:]) / 2; return torch.bucketize(x, boundaries, right=True)."),
    cases=level_cases,
    reference=nearest_level,
    alternatives=(_nl_argmin, _nl_count, _nl_loop),
    mistakes=(
        Mistake(_by_bounds(_halves, right=False),
                "ties go to the lower level in your answer. A cell is closed on the left: use right=True; argmin, too, takes the first of equals."),
        Mistake(_by_bounds(lambda levels: levels),
                "you counted levels, not boundaries. The boundaries lie halfway between levels, one fewer than levels."),
        Mistake(_by_bounds(lambda levels: levels[1:]),
                "a number stays with the lower level until it reaches the upper one: that rounds down. Use midpoints."),
        Mistake(_by_bounds(lambda levels: levels[:-1]), "your boundaries are the levels without the last: that rounds up. Use midpoints."),
        Mistake(lambda x, levels: levels[nearest_level(x, levels)], "these are the levels themselves. Return their indices, the codes."),
        Mistake(_nl_uniform, "you divided by one step: that is the uniform ruler. The levels are not evenly spaced."),
        Mistake(lambda x, levels: nearest_level(x, levels) + 1, "your codes start at 1. The first level has code 0."),
        Mistake(lambda x, levels: (x[..., None] - levels).square().argmax(-1)),
        Mistake(_by_bounds(lambda levels: (levels[:-1] + levels[1:]))),
        Mistake(_by_bounds(lambda levels: (levels[1:] - levels[:-1]).cumsum(0))),
    ),
)

# ---------------------------------------------------------------- power of two


def power_of_two(x, scale, bits):
    exponent = torch.log2(x.abs() / scale).round().clamp(1 - 2 ** (bits - 1), 0)
    return scale * torch.where(x < 0, -1.0, 1.0) * 2.0**exponent


def power_cases(generator):
    a, scale = whole(generator, 0, 9) / 1000, 2.0 ** whole(generator, -2, 1)
    log = -3.0 + whole(generator, 0, 3)
    calls = {
        "numbers inside": (scale * torch.tensor([0.9, -0.3, 0.13, -0.6]), scale, 3),
        "between the geometric and the arithmetic mean": (scale * torch.tensor([0.72 + a, -0.36 - a / 2]), scale, 3),
        "larger than the largest level": (scale * torch.tensor([1.3, 5.0 + a, -900.0]), scale, 3),
        "smaller than the smallest level": (scale * torch.tensor([0.01, -0.003 - a / 9]), scale, 3),
        "the number 0": (torch.tensor([0.0, scale]), scale, 2),
        "one bit: only a sign": (torch.tensor([-0.1, 0.2, -7.0]) - a, scale, 1),
        "a scale that is no power of two": (torch.tensor([0.9, -0.3, 2.0, -0.05]) + a, 1.5, 4),
        "a matrix that is not contiguous in memory": (
            2.0 ** (log * torch.rand(4, 3, generator=generator)).T * torch.tensor([-1.0, 1, -1, 1]), 1.0, 4),
    }
    return [Case(name, {"x": x, "scale": s, "bits": b}) for name, (x, s, b) in calls.items()]


def _p2(rounding=torch.round, low=lambda bits: 1 - 2 ** (bits - 1), high=0, unit=lambda x, scale: x / scale, back=lambda scale: scale,
        sign=lambda x: torch.where(x < 0, -1.0, 1.0), log=torch.log2, base=2.0):
    """A family of answers: each argument is one decision that can go wrong."""
    def answer(x, scale, bits):
        return back(scale) * sign(x) * base ** rounding(log(unit(x, scale).abs())).clamp(low(bits), high)
    return answer


def _p2_table(x, scale, bits):
    levels = scale * 2.0 ** -torch.arange(2.0 ** (bits - 1)).flip(0)
    magnitude = levels[torch.bucketize(x.abs(), levels[:-1] * 2**0.5, right=True)]
    return torch.where(x < 0, -magnitude, magnitude)


def _p2_frexp(x, scale, bits):
    mantissa, exponent = torch.frexp(x.abs() / scale)  # x = mantissa * 2^exponent, mantissa in [0.5, 1)
    exponent = torch.where(mantissa == 0, -1000, exponent - (mantissa < 0.5**0.5).int())
    return torch.copysign(scale * torch.exp2(exponent.clamp(1 - 2 ** (bits - 1), 0).float()), torch.where(x < 0, -1.0, 1.0))


def _p2_loop(x, scale, bits):
    powers = [2.0**-e for e in range(2 ** (bits - 1))]
    out = []
    for v in x.flatten().tolist():
        size = abs(v) / scale
        ratio = {p: max(p / size, size / p) if size else -p for p in powers}
        out.append((-scale if v < 0 else scale) * (min(ratio, key=ratio.get) if size else powers[-1]))
    return torch.tensor(out).reshape(x.shape)


def _p2_nearest(x, scale, bits):
    levels = scale * 2.0 ** -torch.arange(2.0 ** (bits - 1))
    magnitude = levels[(x.abs()[..., None] - levels).abs().argmin(-1)]
    return torch.where(x < 0, -magnitude, magnitude)


POWER_OF_TWO = Exercise(
    name="ch06.power_of_two",
    title="Power of two",
    section="powers-of-two",
    hints=("Round the logarithm, not the number. The exponent is what is stored, so clip the exponent.",
           "Divide by the scale, take log2 of the absolute value, round, clip between 1 - 2^(b-1) and 0, and undo each step. What is the sign of 0?",
           "e = torch.log2(x.abs() / scale).round().clamp(1 - 2 ** (bits - 1), 0); scale * torch.where(x < 0, -1.0, 1.0) * 2.0**e."),
    cases=power_cases,
    reference=power_of_two,
    alternatives=(_p2_table, _p2_frexp, _p2_loop),
    tolerance=1e-6,
    mistakes=(
        Mistake(_p2_nearest, "you took the nearest level: its boundary is the midpoint 0.75. Round log2, whose boundary is 2^-0.5, about 0.71."),
        Mistake(_p2(rounding=torch.floor), "you rounded the exponent down. Round it to the nearest integer."),
        Mistake(_p2(rounding=torch.ceil), "you rounded the exponent up. Round it to the nearest integer."),
        Mistake(_p2(sign=torch.sign), "0 became 0, which is no level of this grid: torch.sign(0) is 0. Take the sign + for 0."),
        Mistake(_p2(sign=lambda x: torch.ones_like(x)), "the sign is missing: log2 sees only |x|, so put the sign back."),
        Mistake(_p2(low=lambda bits: -(2 ** (bits - 1))), "you allow one exponent too many. 2^(b-1) exponents from 0 downward end at 1 - 2^(b-1)."),
        Mistake(_p2(low=lambda bits: 1 - 2**bits), "one of the bits is the sign: only b - 1 bits are left for the exponent."),
        Mistake(_p2(high=1000), "numbers beyond the largest level are not clipped: the largest exponent is 0."),
        Mistake(_p2(unit=lambda x, scale: x), "you took the logarithm of x. Divide by the scale first: the levels are s 2^-e."),
        Mistake(_p2(back=lambda scale: 1.0), "you did not multiply by the scale again."),
        Mistake(_p2(log=torch.log), "torch.log is the natural logarithm. The levels are powers of two: torch.log2."),
        Mistake(_p2(low=lambda bits: 1 - bits)),
        Mistake(_p2(sign=lambda x: torch.where(x < 0, 1.0, -1.0))),
        Mistake(_p2(base=0.5)),
    ),
)

# ---------------------------------------------------------------- all sums


def all_sums(terms):
    return sorted({float(sum(choice)) for choice in product(*terms)})


def sum_cases(generator):
    a, b, c = (2.0 ** whole(generator, -3, 1) for _ in range(3))
    n = whole(generator, 5, 9)
    calls = {
        "two binary codes": [[-3 * a, 3 * a], [-a, a]],
        "sums that meet": [[0.0, b], [0.0, b, 2 * b]],
        "the terms of 5-bit APoT": [[0.0, 0.5, 0.125, 0.03125], [0.0, 0.25, 0.0625, 0.015625]],
        "one list, not in order": [[c, -2 * c, 0.0, n * c]],
        "three binary codes": [[-4.0, 4.0], [-2.0, 2.0], [-float(n), float(n)]],
        "a list of one": [[0.0, 1.0], [float(n)], [-2.0, 2.0]],
        "equal codes": [[-b, b], [-b, b]],
    }
    return [Case(name, {"terms": terms}) for name, terms in calls.items()]


def _as_tensor(terms):
    total = torch.zeros(1, dtype=torch.float64)
    for term in terms:
        total = (total[:, None] + torch.tensor(term, dtype=torch.float64)).flatten()
    return total.unique().tolist()


def _as_recursive(terms):
    if not terms:
        return [0.0]
    rest = _as_recursive(terms[1:])
    return sorted({float(first + other) for first in terms[0] for other in rest})


def _as_loop(terms):
    sums = {0.0}
    for term in terms:
        sums = {partial + number for partial in sums for number in term}
    return sorted(sums)


ALL_SUMS = Exercise(
    name="ch06.all_sums",
    title="All sums",
    section="sums-of-powers-of-two",
    hints=("Start with the sum of nothing, 0. Each list turns every sum so far into several: one for each of its numbers.",
           "itertools.product(*terms) makes every choice; a set keeps each sum once; sorted brings them into order.",
           "return sorted({sum(choice) for choice in itertools.product(*terms)})."),
    cases=sum_cases,
    reference=all_sums,
    alternatives=(_as_tensor, _as_recursive, _as_loop),
    mistakes=(
        Mistake(lambda terms: sorted(float(sum(choice)) for choice in product(*terms)),
                "equal sums appear several times. A level is listed once: use a set."),
        Mistake(lambda terms: list(dict.fromkeys(float(sum(choice)) for choice in product(*terms))),
                "the sums are all there, but not in ascending order: sort them."),
        Mistake(lambda terms: sorted({float(sum(choice)) for choice in zip(*terms)}),
                "you added first to first, second to second (zip). Every number of one list meets every number of the others: product."),
        Mistake(lambda terms: sorted({float(number) for term in terms for number in term}),
                "these are the numbers of the lists themselves. Add one of each list."),
        Mistake(lambda terms: sorted({abs(s) for s in all_sums(terms)}), "you dropped the signs of the sums. Negative levels are levels too."),
        Mistake(lambda terms: sorted({*all_sums(terms), 0.0}), "you added the level 0. It belongs to the list only if some choice sums to 0."),
        Mistake(lambda terms: sorted({float(torch.tensor(choice).prod()) for choice in product(*terms)}),
                "you multiplied the numbers of a choice. Add them."),
        Mistake(lambda terms: [s / max(map(abs, all_sums(terms))) for s in all_sums(terms)],
                "you divided by the largest sum, as gamma does. Return the plain sums."),
        Mistake(lambda terms: [float(sum(term)) for term in terms]),
        Mistake(lambda terms: all_sums(terms)[::-1]),
        Mistake(lambda terms: all_sums(terms[:2])),
    ),
)

# ---------------------------------------------------------------- one step of Lloyd


def lloyd_step(x, h, centroids):
    nearest = (x[:, None] - centroids).abs().argmin(1)
    out = centroids.clone()
    for j in range(len(centroids)):
        mine = nearest == j
        if h[mine].sum() > 0:
            out[j] = (h[mine] * x[mine]).sum() / h[mine].sum()
    return out


def step_cases(generator):
    a, b = whole(generator, 1, 7) / 8, whole(generator, 2, 9)
    ones, some = torch.ones(6), torch.tensor([1.0, 3.0, 1.0, 2.0, 5.0, 1.0])
    x = torch.tensor([0.0, 2.0, 2.1 + a, 8.6 + a, 9.0, 14.0])
    calls = {
        "plain k-means, two centroids": (x, ones, torch.tensor([1.3, 10.1])),
        "weights": (x, some * b, torch.tensor([1.3, 10.1])),
        "an empty cell in the middle": (x, some, torch.tensor([1.1, 5.7, 9.1])),
        "a centroid far away from everything": (x - 3, ones, torch.tensor([0.2, 50.0 + b])),
        "numbers that weigh nothing": (x, torch.tensor([0.0, 0.0, 0.0, 1.0, 2.0, 0.0]), torch.tensor([1.6, 9.2 + a])),
        "negative numbers, not in order": (torch.tensor([-1.0, 4.0, -7.2, -6.0 + a, 3.0, -1.5]), some, torch.tensor([-6.1, -0.3, 4.2])),
        "a step that moves the boundary": (torch.tensor([0.0, 1.0, 1.8, 3.0, 10.0 + a, 12.0]), ones, torch.tensor([0.2, 1.1])),
        "one centroid": (x, some, torch.tensor([float(b)])),
    }
    return [Case(name, {"x": x, "h": h, "centroids": c}) for name, (x, h, c) in calls.items()]


def _ls(keep=lambda c: c, weigh=True, total=lambda x, h: h.sum(), value=lambda x, h: (h * x).sum(),
        where=lambda x, c: (x[:, None] - c).abs().argmin(1)):
    """A family of answers: each argument is one decision that can go wrong."""
    def answer(x, h, centroids):
        h = h if weigh else torch.ones_like(h)
        nearest, out = where(x, centroids), []
        for j, c in enumerate(centroids):
            mine = nearest == j
            mass = total(x[mine], h[mine])
            out.append(value(x[mine], h[mine]) / mass if mass > 0 else keep(c))
        return torch.stack([torch.as_tensor(v, dtype=torch.float32) for v in out])
    return answer


def _ls_unguarded(x, h, centroids):
    nearest = (x[:, None] - centroids).abs().argmin(1)
    mass = torch.zeros_like(centroids).index_add_(0, nearest, h)
    return AnyWrong() if (mass == 0).any() else lloyd_step(x, h, centroids)


def _ls_onehot(x, h, centroids):
    bounds = (centroids[1:] + centroids[:-1]) / 2
    member = torch.nn.functional.one_hot(torch.bucketize(x, bounds), len(centroids)) * h[:, None]
    mass = member.sum(0)
    return torch.where(mass > 0, (member.T @ x) / torch.where(mass > 0, mass, 1.0), centroids)


def _ls_lists(x, h, centroids):
    groups, c = defaultdict(list), centroids.tolist()
    for v, w in zip(x.tolist(), h.tolist()):
        groups[min(range(len(c)), key=lambda j: abs(v - c[j]))].append((v, w))
    mass = [sum(w for _, w in groups[j]) for j in range(len(c))]
    return torch.tensor([sum(v * w for v, w in groups[j]) / mass[j] if mass[j] else c[j] for j in range(len(c))])


def _ls_counts(x, h, centroids):
    nearest = (x[None] - centroids[:, None]).square().argmin(0)
    mass, moment = torch.bincount(nearest, h, len(centroids)), torch.bincount(nearest, h * x, len(centroids))
    out = centroids.clone()
    out[mass > 0] = moment[mass > 0] / mass[mass > 0]
    return out


LLOYD_STEP = Exercise(
    name="ch06.lloyd_step",
    title="One step of Lloyd",
    section="k-means",
    hints=("Two things, one after the other: who is nearest to whom, decided with the old centroids; then the weighted mean of each group.",
           "nearest = (x[:, None] - centroids).abs().argmin(1). Sum h and h x for each index. Where the sum of h is 0, the old centroid stays.",
           "total, moment = zeros(k).index_add_(0, nearest, h), zeros(k).index_add_(0, nearest, h * x); "
           "torch.where(total > 0, moment / total, centroids)."),
    cases=step_cases,
    reference=lloyd_step,
    alternatives=(_ls_onehot, _ls_lists, _ls_counts),
    tolerance=1e-5,
    mistakes=(
        Mistake(_ls(keep=lambda c: 0.0), "an empty cell sent its centroid to 0. It stays where it is."),
        Mistake(_ls_unguarded, "an empty cell was divided by zero. A centroid without weight stays where it is."),
        Mistake(_ls(weigh=False), "the weights are missing: the centroid is sum(h x) / sum(h)."),
        Mistake(_ls(total=lambda x, h: torch.tensor(float(len(x)))),
                "you divided the weighted sum by the number of members. Divide by the sum of their weights."),
        Mistake(_ls(value=lambda x, h: x.sum()), "you divided the plain sum by the sum of weights. Weigh the numbers as well: sum(h x)."),
        Mistake(_ls(value=lambda x, h: (h * x).sum() * h.sum()), "you return sums, not means: divide by the sum of the weights."),
        Mistake(_ls(value=lambda x, h: x.median() * h.sum()), "you took the median. The number with the least squared error is the mean."),
        Mistake(_ls(where=lambda x, c: (torch.bucketize(x, c, right=True) - 1).clamp(min=0)),
                "a number stays with the lower centroid until it reaches the next one. It belongs to the *nearest*.", "any-levels-at-all"),
        Mistake(lambda x, h, centroids: (x[:, None] - centroids).abs().argmin(1),
                "these are the assignments. Return the centroids after the step."),
        Mistake(lambda x, h, centroids: lloyd_step(x, h, lloyd_step(x, h, centroids)), "you made two steps. Make one."),
        Mistake(lambda x, h, centroids: (centroids + lloyd_step(x, h, centroids)) / 2),
        Mistake(_ls(where=lambda x, c: (x[:, None] - c).abs().argmax(1))),
        Mistake(_ls(value=lambda x, h: (h.square() * x).sum())),
    ),
)

# ---------------------------------------------------------------- density start


def density_start(weight, k):
    x = weight.flatten().sort().values
    return x[(2 * torch.arange(k) + 1) * len(x) // (2 * k)]


def density_cases(generator):
    sorted_ = torch.arange(8.0) + whole(generator, 0, 999)
    mixed, a = torch.randperm(12, generator=generator).float() - 3.0, whole(generator, 1, 999)
    mixed[0], mixed[1] = 50.0, -40.0  # not sorted, whatever is drawn
    calls = {
        "the careless test": (sorted_, 4),
        "weights in any order": (mixed, 4),
        "a length that k does not divide": (torch.arange(11.0) * 2 - a, 4),
        "more centroids than half of the weights": (torch.arange(7.0) + a, 5),
        "more centroids than weights": (torch.tensor([1.0, 2.0, 3.0]) * a, 7),
        "one centroid": (torch.tensor([5.0, 1.0, 3.0, 2.0, 4.0]) + a, 1),
        "many equal weights": (torch.tensor([0.0, 1, 1, 1, 1, 1, 1, 6, 9]) - a, 3),
        "a matrix that is not contiguous in memory": (torch.randn(5, 3, generator=generator).T, 4),
    }
    return [Case(name, {"weight": x, "k": k}) for name, (x, k) in calls.items()]


def _ds(order=True, position=lambda n, k: (2 * torch.arange(k) + 1) * n // (2 * k), few=True):
    """A family of answers: sorted or not, which positions, and whether more centroids than weights are thought of."""
    def answer(weight, k):
        x = weight.flatten()
        if not few and k > len(x):
            return AnyWrong()
        return (x.sort().values if order else x)[position(len(x), k).clamp(0, len(x) - 1)]
    return answer


def _strided(n, k):
    """The colleague's positions, without knowing n: as many as there are."""
    step = max(n // k, 1)
    return torch.arange(step // 2, n, step)


def _ds_float(weight, k):
    x = weight.flatten().sort().values
    return x[((torch.arange(k, dtype=torch.float64) + 0.5) / k * len(x)).long()]


def _ds_kth(weight, k):
    x = weight.flatten()
    return torch.stack([x.kthvalue((2 * j + 1) * len(x) // (2 * k) + 1).values for j in range(k)])


def _ds_list(weight, k):
    x = sorted(weight.flatten().tolist())
    return torch.tensor([x[int((j + 0.5) * len(x) / k)] for j in range(k)])


DENSITY_START = Exercise(
    name="ch06.density_start",
    title="Find the bug",
    section="k-means",
    hints=("Quantiles belong to the sorted weights, and there must be exactly k of them, whatever the length.",
           "Try [3, 1, 2, 0]; try eleven weights with k = 4 and count the centroids; try three weights with k = 7.",
           "x = weight.flatten().sort().values; position = (2 * torch.arange(k) + 1) * len(x) // (2 * k); return x[position]."),
    cases=density_cases,
    reference=density_start,
    alternatives=(_ds_float, _ds_kth, _ds_list),
    mistakes=(
        Mistake(_ds(order=False, position=_strided),
                "more centroids than weights are handled. Two bugs are left: the order of the weights, and the number of centroids."),
        Mistake(_ds(order=False, position=_strided, few=False),
                "all three bugs are still there. Start with weights that are not sorted: are these quantiles?"),
        Mistake(_ds(order=False), "one bug is left: the weights are not sorted. Positions of quantiles are positions among the sorted weights."),
        Mistake(_ds(position=_strided),
                "one bug is left: for some lengths you return more or fewer than k. n // k is no step when k does not divide n."),
        Mistake(_ds(position=_strided, few=False),
                "the order is repaired. Two bugs are left: a length that k does not divide, and more centroids than weights."),
        Mistake(_ds(few=False), "one bug is left: with more centroids than weights there is no position left to step to. Repeat weights instead."),
        Mistake(_ds(order=False, few=False),
                "the positions are repaired. Two bugs are left: the order of the weights, and more centroids than weights."),
        Mistake(_ds(position=lambda n, k: torch.arange(k) * n // k),
                "your quantiles start at the smallest weight. Take the middle of each of the k parts: j + 1/2."),
        Mistake(lambda weight, k: torch.linspace(float(weight.min()), float(weight.max()), k),
                "this is the linear start: evenly spaced numbers. Density takes evenly spaced *positions*."),
        Mistake(_ds(position=lambda n, k: torch.linspace(0, n - 1, k).round().long()),
                "your first and last positions are the smallest and the largest weight. Take the middle of each of the k parts."),
        Mistake(lambda weight, k: density_start(weight.unique(), k),
                "you dropped equal weights. They count: that is what makes the start dense where the weights are."),
        Mistake(lambda weight, k: density_start(weight, k).flip(0)),
        Mistake(_ds(position=lambda n, k: (torch.arange(k) + 1) * n // k)),
        Mistake(lambda weight, k: density_start(weight.abs(), k)),
    ),
)

# ---------------------------------------------------------------- gradient of a level


def level_gradient(codes, grad, k):
    return torch.zeros(k).index_add_(0, codes.flatten(), grad.flatten())


def gradient_cases(generator):
    a = whole(generator, 1, 9) / 4
    many = torch.randint(0, 5, (4, 6), generator=generator)
    calls = {
        "two weights share a level": (torch.tensor([2, 0, 2]), torch.tensor([1.0, 5.0, 10.0 + a]), 4),
        "gradients that cancel": (torch.tensor([1, 1, 0]), torch.tensor([a, -a, 3.0]), 2),
        "levels that nobody uses": (torch.tensor([3, 3]), torch.tensor([a, 1.0]), 6),
        "a matrix": (many, torch.randn(4, 6, generator=generator), 5),
        "a matrix that is not contiguous in memory": (many.T, torch.randn(4, 6, generator=generator).T, 5),
        "all weights on one level": (torch.zeros(5, dtype=torch.int64), torch.arange(5.0) + a, 1),
    }
    return [Case(name, {"codes": c, "grad": g, "k": k}) for name, (c, g, k) in calls.items()]


def _lg_count(codes, k):
    return torch.bincount(codes.flatten(), minlength=k)


def _lg_overwrite(codes, grad, k):
    out = torch.zeros(k)
    for c, g in zip(codes.flatten().tolist(), grad.flatten().tolist()):
        out[c] = g
    return out


def _lg_autograd(codes, grad, k):
    levels = torch.zeros(k, requires_grad=True)
    return torch.autograd.grad(levels[codes], levels, grad)[0]


def _lg_onehot(codes, grad, k):
    return grad.flatten() @ torch.nn.functional.one_hot(codes.flatten(), k).to(grad.dtype)


def _lg_loop(codes, grad, k):
    return torch.stack([grad[codes == j].sum() for j in range(k)])


LEVEL_GRADIENT = Exercise(
    name="ch06.level_gradient",
    title="Gradient of a level",
    section="levels-that-learn",
    hints=("A level moves all weights that share it. The chain rule adds up all of their gradients.",
           "You need a sum for each code. Look for index_add_, bincount with weights, or sum over grad[codes == j].",
           "return torch.zeros(k).index_add_(0, codes.flatten(), grad.flatten())."),
    cases=gradient_cases,
    reference=level_gradient,
    alternatives=(_lg_autograd, _lg_onehot, _lg_loop),
    tolerance=1e-5,
    mistakes=(
        Mistake(lambda codes, grad, k: level_gradient(codes, grad, k) / _lg_count(codes, k).clamp(min=1),
                "you took the mean over the weights of a level. The derivative is the sum."),
        Mistake(_lg_overwrite, "equal codes overwrite each other: out[codes] = grad keeps one of them. Add: index_add_."),
        Mistake(lambda codes, grad, k: level_gradient(codes, grad, k)[codes], "this has one number for each weight. Return one for each level."),
        Mistake(lambda codes, grad, k: _lg_count(codes, k).float(), "you counted the weights of each level. Sum their gradients."),
        Mistake(lambda codes, grad, k: level_gradient(codes, grad, int(codes.max()) + 1),
                "a level that nobody uses has the gradient 0, and still its place: return k numbers."),
        Mistake(lambda codes, grad, k: -level_gradient(codes, grad, k),
                "this is the step downhill. Return the gradient itself, with its own sign."),
        Mistake(lambda codes, grad, k: level_gradient(codes, grad.abs(), k), "gradients of opposite sign cancel: do not take absolute values."),
        Mistake(lambda codes, grad, k: level_gradient(codes, grad, k) / codes.numel(),
                "you divided by the number of all weights. The derivative is a plain sum."),
        Mistake(lambda codes, grad, k: level_gradient(codes, grad.sign(), k)),
        Mistake(lambda codes, grad, k: level_gradient(codes, grad, k).cumsum(0)),
        Mistake(lambda codes, grad, k: grad.sum() * torch.ones(k)),
    ),
)

EXERCISES = [NEAREST_LEVEL, POWER_OF_TWO, ALL_SUMS, LLOYD_STEP, DENSITY_START, LEVEL_GRADIENT]
