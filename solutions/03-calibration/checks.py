"""Checks of chapter 03: five ways to choose a range. What the parts are is said in the checks of chapter 02; `qt verify` proves all of it."""

import math

import torch
from scipy import special

from qtoolkit.check import AnyWrong, Case, Exercise, Mistake


def whole(generator, low, high):
    """A drawn integer from low to high."""
    return int(torch.randint(low, high + 1, (1,), generator=generator))


def numbers(generator, n, size=1.0):
    """n different numbers in no order, with three decimals."""
    steps = torch.randperm(40 * n, generator=generator)[:n] - 20 * n
    return (steps * size * 8).round() / 1000


# ---------------------------------------------------------------- percentile


def percentile(x, percent):
    ordered = x.sort().values
    k = math.floor(len(x) * (100 - percent) / 200)
    return float(ordered[k]), float(ordered[-1 - k])


def percentile_cases(generator):
    spoiled = numbers(generator, 20)
    spoiled[whole(generator, 0, 19)] = 1000.0 + whole(generator, 0, 99)
    calls = {
        "a share that comes out even": (numbers(generator, 40), 80),
        "a share that is rounded down": (numbers(generator, 17), 80),
        "a small remainder": (numbers(generator, 23), 90),
        "everything is kept": (numbers(generator, 9), 100),
        "one wild value": (spoiled, 90),
        "all numbers negative": (-1 - numbers(generator, 31).abs(), 75),
        "too few numbers to cut any": (numbers(generator, 5), 90),
    }
    return [Case(name, {"x": x, "percent": p}) for name, (x, p) in calls.items()]


def _pc(share=200, cut=math.floor, order=lambda x: x.sort().values, ends=lambda s, k: (s[k], s[-1 - k])):
    """A family of answers: each argument is one decision that can go wrong."""
    def answer(x, percent):
        s = order(x)
        k = min(cut(len(x) * (100 - percent) / share), (len(x) - 1) // 2)
        return tuple(float(end) for end in ends(s, k))
    return answer


def _pc_interpolated(x, percent):
    tail = (100 - percent) / 200
    return float(x.double().quantile(tail)), float(x.double().quantile(1 - tail))


def _pc_magnitude(x, percent):
    top = float(x.abs().sort().values[-1 - math.floor(len(x) * (100 - percent) / 100)])
    return -top, top


def _pc_topk(x, percent):
    k = int(len(x) * (100 - percent) / 200) + 1
    return (-(-x).topk(k).values[-1]).item(), x.topk(k).values[-1].item()


def _pc_list(x, percent):
    values = sorted(x.tolist())
    for _ in range(math.floor(len(values) * (100 - percent) / 200)):
        values = values[1:-1]
    return values[0], values[-1]


def _pc_kth(x, percent):
    k = math.floor(x.numel() * (100 - percent) / 200)
    return float(x.kthvalue(k + 1).values), float(x.kthvalue(x.numel() - k).values)


PERCENTILE = Exercise(
    name="ch03.percentile",
    title="Percentile",
    section="percentiles",
    hints=("Sort. Count how many values have to go at each end, and look at the first one that stays.",
           "k = floor(n (100 - percent) / 200): the share that is cut, half of it at each end, a whole number of values. With k cut, "
           "the lowest that stays has index k.",
           "ordered = x.sort().values; k = math.floor(len(x) * (100 - percent) / 200); return float(ordered[k]), float(ordered[-1 - k])."),
    cases=percentile_cases,
    reference=percentile,
    alternatives=(_pc_topk, _pc_list, _pc_kth),
    tolerance=1e-6,
    mistakes=(
        Mistake(_pc(share=100), "you cut the whole share at each end. Half of it goes at each end."),
        Mistake(_pc(cut=round), "you rounded the number of values to cut to the nearest. Round it down: floor."),
        Mistake(_pc(cut=math.ceil), "you rounded the number of values to cut up. Round it down: floor."),
        Mistake(_pc_interpolated, "your ends lie between two values: that is an interpolated quantile. The ends are values that occurred."),
        Mistake(_pc(ends=lambda s, k: (s[max(k - 1, 0)], s[min(len(s) - k, len(s) - 1)])),
                "you are one off: with k values cut at each end, the lowest that stays has index k, since counting starts at 0."),
        Mistake(_pc(ends=lambda s, k: (s[0], s[-1 - k])), "you cut only at the upper end. The lower end has outliers too."),
        Mistake(_pc_magnitude, "you sorted magnitudes: that gives a symmetric range. The two ends are found each on its own.",
                "a-range-is-a-choice-between-two-errors"),
        Mistake(_pc(order=lambda x: x), "you took the values as they came. Sort them first."),
        Mistake(lambda x, percent: percentile(x, percent)[::-1], "the two ends are in the wrong order: first the lower, then the upper."),
        Mistake(lambda x, percent: (float(x.min()), float(x.max())), "this is min/max: nothing was cut.",
                "minimum-maximum-and-a-moving-average"),
        Mistake(_pc(ends=lambda s, k: (s[min(k + 1, len(s) - 1)], s[-1 - k]))),
        Mistake(lambda x, percent: percentile(-x, percent)),
        Mistake(_pc(share=2000)),
    ),
)

# ---------------------------------------------------------------- moving average


def moving_average(batches, momentum):
    lo, hi = float(batches[0].min()), float(batches[0].max())
    for x in batches[1:]:
        lo += momentum * (float(x.min()) - lo)
        hi += momentum * (float(x.max()) - hi)
    return lo, hi


def stream_cases(generator):
    def batch(low, high):
        ends = torch.tensor([low, high, low / 2 + high / 2])
        return ends[torch.randperm(3, generator=generator)]

    a, b, c = (whole(generator, 8, 40) / 8 for _ in range(3))
    calls = {
        "one batch": ([batch(-a, b)], 0.125),
        "two batches": ([batch(-a, b), batch(-2 * a, 3 * b)], 0.25),
        "a wild batch in the middle": ([batch(-a, b), batch(-100 * a, 50 * b), batch(-a, b)], 0.125),
        "ranges that shrink": ([batch(-4 * a, 4 * b), batch(-a, b), batch(-a / 2, b / 2)], 0.5),
        "the lower end lies farther out": ([batch(-5 * c, b), batch(-6 * c, 2 * b)], 0.25),
        "all numbers positive": ([batch(a, a + b), batch(2 * a, 2 * a + c), batch(a, a + c)], 0.0625),
    }
    return [Case(name, {"batches": list(x), "momentum": m}) for name, (x, m) in calls.items()]


def _ma(start=True, side=True, top=lambda x: float(x.max()), low=lambda x: float(x.min())):
    """The colleague's function, some of its three bugs repaired, or other ends."""
    def answer(batches, momentum):
        lo, hi = (low(batches[0]), top(batches[0])) if start else (0.0, 0.0)
        new = momentum if side else 1 - momentum
        for x in batches[1:] if start else batches:
            lo, hi = lo + new * (low(x) - lo), hi + new * (top(x) - hi)
        return lo, hi
    return answer


def _magnitude(x):
    return float(x.abs().max())


def _ma_weights(batches, momentum):
    n = len(batches)
    weights = torch.tensor([(1 - momentum) ** (n - 1)] + [momentum * (1 - momentum) ** (n - 1 - i) for i in range(1, n)], dtype=torch.float64)
    ends = torch.stack([torch.stack([x.min(), x.max()]) for x in batches]).double()
    lo, hi = weights @ ends
    return lo.item(), hi.item()


def _ma_recursive(batches, momentum):
    lo, hi = batches[-1].min().item(), batches[-1].max().item()
    if len(batches) == 1:
        return lo, hi
    before = _ma_recursive(batches[:-1], momentum)
    return momentum * lo + (1 - momentum) * before[0], momentum * hi + (1 - momentum) * before[1]


def _ma_none(batches, momentum):
    ends = None
    for x in batches:
        now = torch.stack(x.double().aminmax())
        ends = now if ends is None else torch.lerp(ends, now, momentum)
    return tuple(ends.tolist())


def _every_bug(start, side, magnitude):
    return _ma(start, side, _magnitude if magnitude else lambda x: float(x.max()))


MOVING_AVERAGE = Exercise(
    name="ch03.moving_average",
    title="Find the bug",
    section="minimum-maximum-and-a-moving-average",
    hints=("Where does the average start? Who gets the weight c, the old range or the new batch? And which end of a batch is which?",
           "Try one batch: its own ends must come back. Try two batches with momentum 0.25: a quarter of the way. Try numbers that are "
           "mostly negative.",
           "lo, hi = ends of batches[0]; for the others: lo += momentum * (min x - lo), hi += momentum * (max x - hi)."),
    cases=stream_cases,
    reference=moving_average,
    alternatives=(_ma_weights, _ma_recursive, _ma_none),
    tolerance=1e-6,
    mistakes=(
        Mistake(_every_bug(False, False, True), "all three bugs are still there. Start with a single batch: which range should come back?"),
        Mistake(_every_bug(False, True, False), "one bug is left. The average starts at 0, a range that no batch has. Start at the first batch."),
        Mistake(_every_bug(True, False, False), "one bug is left. The momentum weighs the new batch; you gave it to the old range."),
        Mistake(_every_bug(True, True, True), "one bug is left. The upper end is max x, not the largest magnitude: try mostly negative numbers."),
        Mistake(_every_bug(False, False, False), "the upper end is repaired. Two bugs are left: the start, and who gets the momentum."),
        Mistake(_every_bug(False, True, True), "the momentum is repaired. Two bugs are left: the start, and the upper end."),
        Mistake(_every_bug(True, False, True), "the start is repaired. Two bugs are left: who gets the momentum, and the upper end."),
        Mistake(lambda batches, momentum: (min(float(x.min()) for x in batches), max(float(x.max()) for x in batches)),
                "this is min/max over all batches. The moving average moves only a part of the way to each."),
        Mistake(lambda batches, momentum: (sum(float(x.min()) for x in batches) / len(batches), sum(float(x.max()) for x in batches) / len(batches)),
                "this is the plain average of all batches. Here each batch moves the range by the momentum, the last ones count most."),
        Mistake(lambda batches, momentum: moving_average(batches, momentum)[::-1], "the two ends are in the wrong order: first the lower, then the upper."),
        Mistake(lambda batches, momentum: moving_average(batches[::-1], momentum)),
        Mistake(lambda batches, momentum: moving_average(batches, momentum**2)),
        Mistake(_ma(low=lambda x: float(x.mean()))),
    ),
)

# ---------------------------------------------------------------- least squared error


def mse_clip(x, bits, candidates):
    top = 2 ** (bits - 1) - 1
    errors = []
    for clip in candidates:
        scale = clip / top
        back = torch.round(x / scale).clamp(-top, top) * scale
        errors.append(float((back - x).square().mean()))
    best = errors.index(min(errors))
    return candidates[best], errors[best]


def clip_cases(generator):
    def bell(n, tail=0.0):
        x = torch.randn(n, generator=generator, dtype=torch.float64)
        return x * (1 + tail * x.square())

    wild = bell(60)
    wild[whole(generator, 0, 59)] = 9.0
    grid = [0.5 + 0.37 * i for i in range(14)]
    calls = {
        "a bell at 3 bits": (bell(80), 3, grid),
        "a bell at 2 bits": (bell(80), 2, grid),
        "a heavy tail at 4 bits": (bell(80, 0.4), 4, [0.8 * c for c in grid] + [7.0, 9.0]),
        "one wild number": (wild, 3, [*grid, 9.0]),
        "candidates in no order": (bell(50), 3, [4.1, 1.3, 2.9, 0.7, 2.2]),
        "numbers on the marks": (torch.tensor([-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0], dtype=torch.float64) * 0.5, 3, [1.0, 1.5, 2.0]),
        "all numbers positive": (bell(70).abs(), 4, grid),
    }
    return [Case(name, {"x": x, "bits": b, "candidates": list(c)}) for name, (x, b, c) in calls.items()]


def _mc(top=lambda bits: 2 ** (bits - 1) - 1, step=None, rounding=torch.round, clamp=True, error=lambda d, inside: d.square().mean(), pick=min):
    """A family of answers: each argument is one decision that can go wrong."""
    def answer(x, bits, candidates):
        errors = []
        for clip in candidates:
            scale = clip / top(bits) if step is None else step(clip, bits)
            codes = rounding(x / scale)
            back = (codes.clamp(-top(bits), top(bits)) if clamp else codes) * scale
            errors.append(float(error(back - x, x.abs() <= clip)))
        best = errors.index(pick(errors))
        return candidates[best], errors[best]
    return answer


def _mc_table(x, bits, candidates):
    clips = torch.tensor(candidates, dtype=torch.float64)[:, None]
    scale = clips / (2 ** (bits - 1) - 1)
    errors = (torch.round(x.clamp(-clips, clips) / scale) * scale - x).pow(2).mean(1)
    return candidates[int(errors.argmin())], errors.min().item()


def _mc_levels(x, bits, candidates):
    def error(clip):
        levels = torch.linspace(-clip, clip, 2**bits - 1, dtype=torch.float64)
        return float((x[:, None] - levels).abs().amin(1).square().mean())
    best = min(candidates, key=error)
    return best, error(best)


def _mc_running(x, bits, candidates):
    top, best = 2 ** (bits - 1) - 1, (None, math.inf)
    for clip in candidates:
        error = sum((max(-top, min(top, round(v * top / clip))) * clip / top - v) ** 2 for v in x.tolist()) / len(x)
        best = (clip, error) if error < best[1] else best
    return best


MSE_CLIP = Exercise(
    name="ch03.mse_clip",
    title="Least squared error",
    section="least-squared-error",
    hints=("For each candidate: quantize, go back, measure. Then take the candidate with the smallest mean squared error.",
           "The outermost marks are -T and T and carry the codes -(2^(b-1) - 1) and 2^(b-1) - 1, so S = T / (2^(b-1) - 1). Values beyond T "
           "are clamped, and their error counts like that of all others.",
           "top = 2**(bits - 1) - 1; scale = T / top; back = torch.round(x / scale).clamp(-top, top) * scale; error = (back - x).square().mean()."),
    cases=clip_cases,
    reference=mse_clip,
    alternatives=(_mc_table, _mc_levels, _mc_running),
    tolerance=1e-5,
    mistakes=(
        Mistake(_mc(clamp=False), "you do not clamp. Without clipping the shortest range always wins, and no code fits its bits."),
        Mistake(_mc(error=lambda d, inside: (d.square() * inside).mean()),
                "you counted only the numbers inside the range. The clipped ones make the other half of the trade.", "a-range-is-a-choice-between-two-errors"),
        Mistake(_mc(error=lambda d, inside: (d.square() * ~inside).mean()),
                "you counted only the numbers outside the range. Rounding makes the other half of the trade.", "a-range-is-a-choice-between-two-errors"),
        Mistake(_mc(error=lambda d, inside: d.abs().mean()), "you averaged absolute errors. This is the least squared error."),
        Mistake(_mc(error=lambda d, inside: d.abs().max()), "you took the largest error. Average the squares of all."),
        Mistake(_mc(top=lambda bits: 2 ** (bits - 1)), "your highest code is 2^(b-1). It is one less: 2^(b-1) - 1."),
        Mistake(_mc(step=lambda clip, bits: 2 * clip / (2**bits - 1)), "this is the step of the full range. Here the outermost marks are -T and T: S = T / (2^(b-1) - 1)."),
        Mistake(_mc(rounding=torch.trunc), "you cut off the fraction instead of rounding to the nearest mark."),
        Mistake(_mc(error=lambda d, inside: d.square().sum()), "you summed the squared errors. Return their mean."),
        Mistake(_mc(error=lambda d, inside: d.square().mean().sqrt()), "you took the root of the mean squared error. Return it without the root."),
        Mistake(_mc(pick=max), "you took the candidate with the largest error."),
        Mistake(lambda x, bits, candidates: mse_clip(x, bits, candidates)[::-1], "the two numbers are in the wrong order: first the clip, then its error."),
        Mistake(_mc(top=lambda bits: 2**bits - 1)),
        Mistake(lambda x, bits, candidates: mse_clip(x, bits + 1, candidates)),
        Mistake(_mc(rounding=torch.floor)),
    ),
)

# ---------------------------------------------------------------- KL of one threshold


def kl(counts, kept, levels):
    h = counts[:kept].double()
    p = h.clone()
    p[-1] += counts[kept:].sum()
    code = torch.arange(kept) * levels // kept
    q = torch.zeros_like(p)
    for c in range(levels):
        mine = (code == c) & (p > 0)
        q[mine] = h[code == c].sum() / mine.sum()
    p, q = p / p.sum(), q / q.sum()
    return float((p * (p / q).log())[p > 0].sum())


def histogram_cases(generator):
    def counts(n, low=1, high=30):
        return torch.randint(low, high, (n,), generator=generator).double()

    gaps, empty_end, spike = counts(12, 4), counts(10), counts(16)
    gaps[torch.tensor([1, 4, 5, 8])] = 0
    empty_end[5] = 0
    empty_end[6:] += 3
    spike[0] = 400.0 + whole(generator, 0, 99)
    calls = {
        "a small histogram by hand": (torch.tensor([4, 2, 1, 1]).double() * whole(generator, 1, 9) + torch.tensor([1, 0, 0, 0]), 4, 2),
        "a tail beyond the threshold": (counts(12), 8, 2),
        "empty bins": (gaps, 12, 3),
        "empty bins and a tail": (gaps, 9, 3),
        "the last bin is empty, but there is a tail": (empty_end, 6, 2),
        "codes that do not divide the bins": (counts(14), 11, 3),
        "one bin a code": (counts(9), 5, 5),
        "a spike at zero": (spike, 12, 4),
    }
    return [Case(name, {"counts": c, "kept": k, "levels": n}) for name, (c, k, n) in calls.items()]


def _kl(fold=True, tail_in_q=False, spread=lambda p, h: p > 0, normal=True, code=lambda kept, levels: torch.arange(kept) * levels // kept,
        measure=lambda p, q: (p * (p / q).log())[p > 0].sum()):
    """A family of answers: each argument is one decision that can go wrong."""
    def answer(counts, kept, levels):
        h = counts[:kept].clone()
        p = h.clone()
        if fold:
            p[-1] += counts[kept:].sum()
        given, used = p if tail_in_q else h, spread(p, h)
        groups, q = code(kept, levels), torch.zeros_like(p)
        for c in range(levels):
            mine = (groups == c) & used
            if mine.any():
                q[mine] = given[groups == c].sum() / mine.sum()
        p, q = p / p.sum(), q / (q.sum() if normal else counts.sum())
        result = float(measure(p, q))
        return AnyWrong() if math.isnan(result) else result
    return answer


def _kl_scipy(counts, kept, levels):
    p = counts[:kept].tolist()
    q, tail = [0.0] * kept, float(counts[kept:].sum())
    full = [v + (tail if i == kept - 1 else 0) for i, v in enumerate(p)]
    for c in range(levels):
        bins = [i for i in range(kept) if i * levels // kept == c]
        live = [i for i in bins if full[i] > 0]
        for i in live:
            q[i] = sum(p[j] for j in bins) / len(live)
    a, b = torch.tensor(full).double(), torch.tensor(q).double()
    return float(special.rel_entr((a / a.sum()).numpy(), (b / b.sum()).numpy()).sum())


def _kl_scatter(counts, kept, levels):
    h, code = counts[:kept], torch.arange(kept) * levels // kept
    p = torch.cat([h[:-1], counts[kept - 1:].sum()[None]])
    used = (p > 0).double()
    mass = torch.bincount(code, h, levels) / torch.bincount(code, used, levels).clamp(min=1)
    q = mass[code] * used
    return torch.nn.functional.kl_div((q / q.sum()).clamp(min=1e-300).log(), p / p.sum(), reduction="sum").item()


def _kl_split(counts, kept, levels):
    total, inside = float(counts.sum()), float(counts[:kept].sum())
    result, tail = 0.0, float(counts[kept:].sum())
    for c in range(levels):
        bins = [i for i in range(kept) if i * levels // kept == c]
        p = [float(counts[i]) + (tail if i == kept - 1 else 0.0) for i in bins]
        live = sum(v > 0 for v in p)
        level = float(counts[bins].sum()) / live / inside if live else 0.0
        result += sum(v / total * math.log(v / total / level) for v in p if v > 0)
    return result


KL_ONE = Exercise(
    name="ch03.kl",
    title="KL of one threshold",
    section="kl-what-the-entropy-calibration-compares",
    hints=("Two pictures of the same histogram. P is what clipping leaves. Q is what a few codes can tell of it, and it never hears of the tail.",
           "P: the first `kept` counts, the rest added to the last of them. Q: the counts without the addition; each code shares its sum "
           "equally among those of its bins in which P is not empty. Bin i has code i * levels // kept. Normalize both.",
           "For each code c: mine = (code == c) & (p > 0); q[mine] = h[code == c].sum() / mine.sum(). Then p / p.sum(), q / q.sum() and "
           "the sum of p log(p / q) where p > 0."),
    cases=histogram_cases,
    reference=kl,
    alternatives=(_kl_scipy, _kl_scatter, _kl_split),
    tolerance=1e-5,
    mistakes=(
        Mistake(_kl(fold=False), "the tail is missing: what lies beyond the threshold is added to the last bin of P."),
        Mistake(_kl(tail_in_q=True), "you gave the tail to Q as well. Q is made from the counts without the addition; else clipping costs nothing."),
        Mistake(_kl(spread=lambda p, h: torch.ones_like(p, dtype=torch.bool)),
                "you spread each code over all of its bins. Empty bins stay empty: share only among those in which P is not."),
        Mistake(_kl(spread=lambda p, h: h > 0),
                "you looked for empty bins before the tail was added. The last bin may hold nothing but the tail: it is not empty in P."),
        Mistake(_kl(normal=False), "you did not normalize Q by its own sum: it holds less than P when there is a tail."),
        Mistake(_kl(measure=lambda p, q: (q * (q / p).log())[q > 0].sum()), "you computed KL(Q || P). The logarithm is of P / Q, weighted by P."),
        Mistake(_kl(measure=lambda p, q: (p * (p / q).log2())[p > 0].sum()), "you measured in bits. This divergence is in nats: the natural logarithm."),
        Mistake(_kl(code=lambda kept, levels: (torch.arange(kept) // (kept // levels)).clamp(max=levels - 1)),
                "your codes get kept // levels bins each and the last one the remainder. Here bin i has code i * levels // kept."),
        Mistake(_kl(measure=lambda p, q: (p - q).square().sum()), "you added squared differences. The divergence adds p log(p / q)."),
        Mistake(_kl(measure=lambda p, q: -(p * (p / q).log())[p > 0].sum()), "the sign is wrong: a divergence is never negative."),
        Mistake(lambda counts, kept, levels: kl(counts, max(kept - 1, levels), levels)),
        Mistake(_kl(measure=lambda p, q: (p * (p / q).log())[p > 0].mean())),
        Mistake(_kl(measure=lambda p, q: (p - q).abs().sum() / 2)),
    ),
)

# ---------------------------------------------------------------- ACIQ


def aciq_laplace(x, bits):
    low, high = 0.0, 100.0
    for _ in range(200):
        t = (low + high) / 2
        low, high = (t, high) if t * math.exp(t) < 3 * 4**bits else (low, t)
    mean = float(x.mean())
    a = low * float((x - mean).abs().mean())
    return mean - a, mean + a


def shape_cases(generator):
    def sample(n, center, width):
        return center + width * torch.randn(n, generator=generator, dtype=torch.float64) ** 3

    shift = whole(generator, 2, 9) / 4
    return [Case(name, {"x": x, "bits": bits}) for name, x, bits in [
        ("a tensor around zero at 4 bits", sample(41, 0.0, 1.0), 4),
        ("2 bits", sample(41, 0.0, 0.5), 2),
        ("8 bits", sample(41, 0.0, 2.0), 8),
        ("a mean far from zero", sample(30, 10 * shift, 1.0), 4),
        ("a negative mean", sample(30, -shift, 0.3), 3),
        ("by hand", torch.tensor([-2.0, -1.0, 1.0, 2.0], dtype=torch.float64) * shift, 4)]]


def _ac(right=lambda bits: 3 * 4**bits, solve=lambda r: float(special.lambertw(r).real), center=lambda x: float(x.mean()),
        width=lambda x, m: float((x - m).abs().mean()), reach=1.0):
    """A family of answers: each argument is one decision that can go wrong."""
    def answer(x, bits):
        m = center(x)
        a = reach * solve(right(bits)) * width(x, m)
        return m - a, m + a
    return answer


def _ac_newton(x, bits):
    goal = math.log(3) + bits * math.log(4)
    t = goal
    for _ in range(50):
        t -= (t + math.log(t) - goal) / (1 + 1 / t)
    m = x.mean()
    a = t * (x - m).abs().mean()
    return (m - a).item(), (m + a).item()


def _ac_search(x, bits):
    from scipy import optimize

    best = optimize.minimize_scalar(lambda t: 2 * math.exp(-t) + t * t / (3 * 4**bits), bounds=(0.1, 30), method="bounded", options={"xatol": 1e-12}).x
    m = float(x.mean())
    a = best * float((x - m).abs().mean())
    return m - a, m + a


ACIQ = Exercise(
    name="ch03.aciq_laplace",
    title="ACIQ",
    section="aciq-the-best-clip-from-a-formula",
    hints=("Two things are measured on the data, a center and a width. The rest is one equation in one unknown that knows only the bits.",
           "Center: the mean. Width: the mean distance from it, not the standard deviation. Solve t exp(t) = 3 * 4^M, for instance by "
           "halving an interval: the left side grows with t.",
           "low, high = 0, 100; halve 200 times: t = (low + high) / 2, low = t if t * math.exp(t) < 3 * 4**bits else high = t. Then a = t * width; "
           "return mean - a, mean + a."),
    cases=shape_cases,
    reference=aciq_laplace,
    alternatives=(_ac(), _ac_newton, _ac_search),
    tolerance=1e-4,
    mistakes=(
        Mistake(_ac(width=lambda x, m: float(x.std())), "you measured the standard deviation. The width of a Laplace distribution is the mean of |x - mean|."),
        Mistake(_ac(width=lambda x, m: float(x.abs().mean())), "you measured the width around 0. Subtract the mean first."),
        Mistake(_ac(center=lambda x: 0.0, width=lambda x, m: float((x - x.mean()).abs().mean())), "your range is centered on 0. Center it on the mean."),
        Mistake(_ac(center=lambda x: 0.0), "you forgot the mean twice: in the width and in the center of the range."),
        Mistake(_ac(right=lambda bits: 4**bits), "the 3 is missing: it comes from S^2 / 12 with S = 2a / 2^M."),
        Mistake(_ac(right=lambda bits: 3 * 2**bits), "you wrote 2^M. The step is squared, so it is 4^M."),
        Mistake(_ac(right=lambda bits: 3 * 4 ** (bits + 1)), "this is the clip for one bit more, as after a ReLU. Here both signs have codes."),
        Mistake(_ac(solve=math.log), "you took t = ln(3 * 4^M), the solution of exp(t) = 3 * 4^M. The factor t in front belongs to the equation."),
        Mistake(_ac(reach=0.5), "your range is half as long: it reaches a to each side, 2a in all."),
        Mistake(_ac(solve=lambda r: 1.0), "this is one width to each side. The clip is t widths, and t depends on the bits."),
        Mistake(_ac(center=lambda x: float(x.median()))),
        Mistake(_ac(reach=2.0)),
        Mistake(_ac(right=lambda bits: 12 * 4**bits + 1)),
        Mistake(lambda x, bits: aciq_laplace(x, bits)[::-1]),
    ),
)

EXERCISES = [PERCENTILE, MOVING_AVERAGE, MSE_CLIP, KL_ONE, ACIQ]
