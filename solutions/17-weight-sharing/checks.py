"""Checks of chapter 17: a start, codes of the nearest shared values, their gradient, the rate of a network, a hashed layer, a training step with bugs."""

import math

import torch

from qtoolkit.check import AnyWrong, Case, Exercise, Mistake


def _whole(generator, low, high):
    """A drawn integer from low to high."""
    return int(torch.randint(low, high + 1, (1,), generator=generator))


def _eighths(generator, *shape):
    """Numbers whose sums are exact in any order."""
    return torch.randint(-16, 17, shape, generator=generator) / 8


# ---------------------------------------------------------------- the linear start


def linear_start(weight, k):
    kept = [w for w in weight if w != 0]
    lo, hi = min(kept), max(kept)
    return [lo + (hi - lo) * i / (k - 1) for i in range(k)]


def start_cases(generator):
    def drawn(size, low, high):
        return (torch.randint(low, high + 1, (size,), generator=generator) / 4).tolist()

    far = _whole(generator, 24, 60) / 4
    calls = {
        "a worked example by hand": ([0.0, -1.0, 3.0, 0.0, 1.0], 3),
        "pruned, all kept weights positive": ([0.0, 5.0, 0.0, 2.0, 4.5, *drawn(3, 9, 19)], 4),
        "pruned, all kept weights negative": ([-0.5, 0.0, -far, 0.0, -1.0, -0.75], 3),
        "one large weight": ([0.25, 0.5, 0.25, -0.25, far, 0.0, -0.5], 5),
        "two values": ([*drawn(5, 1, 12), -far], 2),
        "more values than weights": ([1.0, -far, 0.0], 4),
        "not symmetric": ([*drawn(8, -4, 20), -1.5, far], 5),
    }
    return [Case(name, {"weight": weight, "k": k}) for name, (weight, k) in calls.items()]


def _ls_linspace(weight, k):
    kept = torch.tensor(weight)[torch.tensor(weight) != 0]
    return torch.linspace(float(kept.min()), float(kept.max()), k, dtype=torch.float64).tolist()


def _ls_steps(weight, k):
    kept = sorted(w for w in weight if w)
    step, values = (kept[-1] - kept[0]) / (k - 1), [kept[0]]
    while len(values) < k:
        values.append(values[-1] + step)
    return values


def _ls_mixture(weight, k):
    ordered = sorted(filter(None, weight))
    shares = [j / (k - 1) for j in range(k)]
    return [(1 - share) * ordered[0] + share * ordered[-1] for share in shares]


def _spaced(lo, hi, k):
    return [lo + (hi - lo) * i / (k - 1) for i in range(k)]


def _kept(weight):
    return sorted(w for w in weight if w != 0)


def _symmetric(weight, k):
    most = max(abs(w) for w in weight)
    return _spaced(-most, most, k)


def _quantiles(weight, k):
    kept = _kept(weight)
    return [kept[int((i + 0.5) / k * len(kept))] for i in range(k)]


def _centers(weight, k):
    lo, *_, hi = _kept(weight)
    return [lo + (hi - lo) * (i + 0.5) / k for i in range(k)]


def _short(weight, k):
    lo, *_, hi = _kept(weight)
    return [lo + (hi - lo) * i / k for i in range(k)]


LINEAR = Exercise(
    name="ch17.linear_start",
    title="The linear start",
    section="where-k-means-starts",
    hints=("Where do the first and the last value stand? And which weights have a say?",
           "Leave out the zeros. The first value is the smallest kept weight, the last the largest, and between k values there are k - 1 equal steps.",
           "lo + (hi - lo) * i / (k - 1) for i in range(k), with lo and hi of the weights that are not 0."),
    cases=start_cases,
    reference=linear_start,
    alternatives=(_ls_linspace, _ls_steps, _ls_mixture),
    tolerance=1e-6,
    mistakes=(
        Mistake(lambda weight, k: _spaced(min(weight), max(weight), k), "the zeros had a say. They are pruned: only kept weights decide where the values start.",
                "pruned-weights-stay-zero"),
        Mistake(_short, "your steps are too short, so the largest weight is not reached. Between k values there are k - 1 steps."),
        Mistake(_centers, "your values stand in the middle of equal cells and miss both ends. The linear start holds the smallest and the largest weight."),
        Mistake(_symmetric, "you spaced from -max to +max. The ends are the smallest and the largest kept weight, wherever they are."),
        Mistake(_quantiles, "this is the density start: as many weights between neighbors. The linear start does not look at how many there are."),
        Mistake(lambda weight, k: linear_start(weight, k + 1), "you return one value too many: k are wanted."),
        Mistake(lambda weight, k: linear_start(weight, k)[::-1]),
        Mistake(lambda weight, k: [0.9 * v for v in linear_start(weight, k)]),
        Mistake(lambda weight, k: [sum(linear_start(weight, k)) / k] * k),
    ),
)

# ---------------------------------------------------------------- assign the codes


def assign_codes(weight, values):
    nearest = torch.bucketize(weight, (values[1:] + values[:-1]) / 2, right=True) + 1
    return torch.where(weight == 0, 0, nearest)


def assign_cases(generator):
    quarter = _whole(generator, 1, 3) / 4
    values = torch.tensor([-2.0, -0.5, 1.0, 3.0]) + quarter / 2
    drawn = torch.randint(-14, 17, (2, 4), generator=generator) / 4
    drawn = torch.where(drawn == 0, 0.25, drawn)
    pruned = drawn * (torch.rand(2, 4, generator=generator) < 0.4)
    pruned[0, 0], pruned[1, 2] = 0.0, 2.5
    calls = {
        "a worked example by hand": (torch.tensor([[0.0, 1.0, 1.25], [-3.0, 0.0, 5.0]]), torch.tensor([-3.0, 1.0, 5.0])),
        "no zeros": (drawn + 0.0625, values),
        "exactly between two values": (torch.tensor([[-1.25, 0.25, 2.0, -2.0]]), torch.tensor([-2.0, -0.5, 1.0, 3.0])),
        "pruned weights": (pruned, values),
        "small, but not zero": (torch.tensor([[0.125 * quarter, -0.125, 0.0, 0.25]]), torch.tensor([-1.0, 2.0])),
        "beyond the outermost values": (torch.tensor([[-9.0, 9.0 + quarter], [0.0, -7.5]]), torch.tensor([-1.0, 0.25, 1.5])),
        "a single value": (torch.tensor([[0.0, -1.0], [quarter, 4.0]]), torch.tensor([0.5])),
    }
    return [Case(name, {"weight": weight, "values": values}) for name, (weight, values) in calls.items()]


def _ac_loop(weight, values):
    codes = []
    for w in weight.flatten().tolist():
        distance = [abs(w - v) for v in values.tolist()]
        best = max(j for j, d in enumerate(distance) if d == min(distance))
        codes.append(0 if w == 0 else best + 1)
    return torch.tensor(codes).reshape(weight.shape)


def _ac_distances(weight, values):
    distance = (weight[..., None] - values.flip(0)).abs()
    return (len(values) - distance.argmin(-1)) * (weight != 0)


def _ac_counting(weight, values):
    cuts = (values[1:] + values[:-1]) / 2
    return (1 + (weight[..., None] >= cuts).sum(-1)) * weight.bool()


def _codes(nearest=lambda w, v: assign_codes(w + (w == 0) * 1e-9, v), zero=lambda w, c: torch.where(w == 0, 0, c)):
    """A family of answers: the nearest value, then what zeros become."""
    return lambda weight, values: zero(weight, nearest(weight, values))


def _zero_competes(weight, values):
    book = torch.cat([torch.zeros(1), values])
    return (weight[..., None] - book).abs().argmin(-1)


ASSIGN = Exercise(
    name="ch17.assign_codes",
    title="Assign the codes",
    section="a-layer-of-few-values",
    hints=("Between two neighboring values there is one boundary. Where is it, and to whom does it belong?",
           "Boundaries are the midpoints (values[1:] + values[:-1]) / 2. Count how many of them are at or below a weight, add 1 because codes of values "
           "start at 1, and give every weight that is exactly 0 the code 0.",
           "torch.where(weight == 0, 0, torch.bucketize(weight, midpoints, right=True) + 1)."),
    cases=assign_cases,
    reference=assign_codes,
    alternatives=(_ac_loop, _ac_distances, _ac_counting),
    mistakes=(
        Mistake(lambda weight, values: torch.where(weight == 0, 0, torch.bucketize(weight, (values[1:] + values[:-1]) / 2) + 1),
                "a weight exactly between two values went to the lower one. The boundary belongs to the upper value: bucketize(..., right=True)."),
        Mistake(_codes(zero=lambda w, c: c), "pruned weights got a shared value. A weight that is exactly 0 has code 0, whatever value is near."),
        Mistake(_zero_competes, "you let 0 compete as one more value, so small kept weights were pruned. Only weights that are exactly 0 get code 0."),
        Mistake(lambda weight, values: torch.where(weight == 0, 0, assign_codes(weight + (weight == 0), values) - 1),
                "your codes of values start at 0, which is the code of a pruned weight. They start at 1."),
        Mistake(_codes(nearest=lambda w, v: torch.bucketize(w, v, right=True).clamp(min=1)),
                "you took the largest value that is not above the weight. The nearest one may be above: cut at the midpoints."),
        Mistake(_codes(nearest=lambda w, v: torch.bucketize(w, v).clamp(max=len(v) - 1) + 1),
                "you took the smallest value that is not below the weight. The nearest one may be below: cut at the midpoints."),
        Mistake(_codes(nearest=lambda w, v: (w.abs()[..., None] - v.abs()).abs().argmin(-1) + 1),
                "you compared sizes without signs. -2 is far from +2."),
        Mistake(lambda weight, values: torch.cat([torch.zeros(1), values])[assign_codes(weight, values)],
                "you returned the shared values. The codes are wanted, the numbers by which the book is looked up."),
        Mistake(lambda weight, values: assign_codes(weight, values).flatten() if weight.dim() > 1 else AnyWrong(),
                "codes have lost the shape of the weight."),
        Mistake(lambda weight, values: assign_codes(weight, values).T.reshape(weight.shape)),
        Mistake(lambda weight, values: len(values) + 1 - assign_codes(weight, values)),
        Mistake(_codes(nearest=lambda w, v: torch.randint(1, len(v) + 1, w.shape, generator=torch.Generator().manual_seed(5)), zero=lambda w, c: c * 0 + 1)),
    ),
)

# ---------------------------------------------------------------- the gradient of the shared values


def shared_gradient(weight_gradient, codes, k):
    return torch.zeros(k + 1).index_add_(0, codes.flatten(), weight_gradient.flatten())[1:]


def gradient_cases(generator):
    def drawn(shape, k, low=0):
        return _eighths(generator, *shape) + 0.0625, torch.randint(low, k + 1, shape, generator=generator), k

    gradient, codes, k = drawn((3, 4), 3)
    codes[0, 0], codes[1, :3] = 2, torch.tensor([1, 2, 3])
    calls = {
        "a worked example by hand": (torch.tensor([[1.0, 2.0, 10.0], [0.5, 4.0, -3.0]]), torch.tensor([[1, 1, 2], [0, 2, 1]]), 2),
        "nothing pruned": drawn((2, 3), 3, low=1),
        "most weights pruned": (gradient, codes * (torch.arange(12).reshape(3, 4) % 3 == 0), k),
        "a value without members": (*drawn((2, 5), 2)[:2], 5),
        "one value for all": (*drawn((3, 3), 1, low=1)[:2], 1),
        "clusters of very different size": (_eighths(generator, 1, 12) + 0.0625, torch.tensor([[1] * 8 + [2, 2, 3, 0]]), 3),
        "a convolution": drawn((2, 1, 2, 2), 3),
    }
    return [Case(name, dict(zip(("weight_gradient", "codes", "k"), call))) for name, call in calls.items()]


def _sg_loop(weight_gradient, codes, k):
    total = [0.0] * (k + 1)
    for g, code in zip(weight_gradient.flatten().tolist(), codes.flatten().tolist()):
        total[code] += g
    return torch.tensor(total[1:])


def _sg_masks(weight_gradient, codes, k):
    return torch.stack([(weight_gradient * (codes == j)).sum() for j in range(1, k + 1)])


def _sg_autograd(weight_gradient, codes, k):
    values = torch.zeros(k, requires_grad=True)
    (torch.cat([torch.zeros(1), values])[codes] * weight_gradient).sum().backward()
    return values.grad


def _sg_bincount(weight_gradient, codes, k):
    return torch.bincount(codes.flatten(), weights=weight_gradient.flatten(), minlength=k + 1)[1:].float()


def _members(codes, k):
    return torch.bincount(codes.flatten(), minlength=k + 1)[1:]


def _last_wins(weight_gradient, codes, k):
    out = torch.zeros(k + 1)
    for g, code in zip(weight_gradient.flatten(), codes.flatten().tolist()):
        out[code] = g
    return out[1:]


def _wrapped(weight_gradient, codes, k):
    """codes - 1: a pruned place, code 0, becomes index -1, the last value."""
    out = torch.zeros(k)
    for g, code in zip(weight_gradient.flatten(), codes.flatten().tolist()):
        out[code - 1] += g
    return out


def _mean(weight_gradient, codes, k):
    return shared_gradient(weight_gradient, codes, k) / _members(codes, k).clamp(min=1)


def _only_used(weight_gradient, codes, k):
    used = _members(codes, k) > 0
    return AnyWrong() if used.all() else shared_gradient(weight_gradient, codes, k)[used]


def _with_zero(weight_gradient, codes, k):
    return torch.zeros(k + 1).index_add_(0, codes.flatten(), weight_gradient.flatten())


def _rows(weight_gradient, codes, k):
    """A value for each row: the sum stops at the end of a row."""
    return torch.stack([shared_gradient(g, c, k) for g, c in zip(weight_gradient, codes)]) if len(codes) > 1 else AnyWrong()


GRADIENT = Exercise(
    name="ch17.shared_gradient",
    title="The gradient of the shared values",
    section="the-gradient-of-a-shared-value",
    hints=("One variable stands in many places. What does the chain rule do with their gradients? And whose is the gradient at a pruned place?",
           "Start with k + 1 zeros, one for each code. Add every weight's gradient to the entry of its code. Entry 0 belongs to the pruned weights: leave it out.",
           "torch.zeros(k + 1).index_add_(0, codes.flatten(), weight_gradient.flatten())[1:]."),
    cases=gradient_cases,
    reference=shared_gradient,
    alternatives=(_sg_loop, _sg_masks, _sg_autograd, _sg_bincount),
    tolerance=1e-5,
    mistakes=(
        Mistake(_mean, "this is the mean over the members. The gradient is the sum: move the value, and all its members move.", "sum-or-mean"),
        Mistake(_last_wins, "one member overwrites the other. An assignment keeps the last one only: accumulate with index_add_ or +=."),
        Mistake(_with_zero, "you returned an entry for code 0. Zero is a constant, not a shared value: return k numbers.", "pruned-weights-stay-zero"),
        Mistake(_wrapped, "gradients of pruned places went to the last value: code 0 minus 1 is index -1. Drop them.", "pruned-weights-stay-zero"),
        Mistake(lambda weight_gradient, codes, k: shared_gradient(weight_gradient, codes.clamp(min=1), k),
                "gradients of pruned places went to the first value. They belong to nobody: drop them.", "pruned-weights-stay-zero"),
        Mistake(_only_used, "a value without members has vanished. Return k numbers; the sum over nobody is 0."),
        Mistake(_rows, "you summed within each row. A shared value belongs to the whole layer: sum over all places."),
        Mistake(lambda weight_gradient, codes, k: -shared_gradient(weight_gradient, codes, k), "the sign is wrong: this is the direction of the step, not the gradient."),
        Mistake(lambda weight_gradient, codes, k: shared_gradient(weight_gradient, codes, k) / codes.numel()),
        Mistake(lambda weight_gradient, codes, k: shared_gradient(weight_gradient.abs(), codes, k)),
        Mistake(lambda weight_gradient, codes, k: _with_zero(weight_gradient, codes, k)[:-1]),
        Mistake(lambda weight_gradient, codes, k: shared_gradient(weight_gradient, codes, k) * _members(codes, k)),
        Mistake(lambda weight_gradient, codes, k: shared_gradient(weight_gradient, codes, k) + 1),
    ),
)

# ---------------------------------------------------------------- the honest rate


def honest_rate(weights, kept, bits, index_bits):
    stored = 0
    for n, a, b in zip(weights, kept, bits, strict=True):
        stored += a * (b + (index_bits if a < n else 0)) + (2**b - 1) * 32
    return 32 * sum(weights) / stored


def rate_cases(generator):
    n, small = 1000 * _whole(generator, 20, 90), 100 * _whole(generator, 3, 9)
    calls = {
        "a worked example by hand": ([100], [10], [2], 5),
        "nothing pruned": ([n], [n], [4], 5),
        "one pruned layer": ([n], [n // 10], [4], 5),
        "a small layer with a large book": ([small], [small], [8], 4),
        "two layers, both pruned": ([n, small], [n // 12, small // 4], [6, 5], 5),
        "one layer pruned, one not": ([n, small], [n // 8, small], [3, 6], 4),
        "the layers of LeNet-300-100": ([235200, 30000, 1000], [18816, 2700, 260], [6, 6, 6], 5),
    }
    names = ("weights", "kept", "bits", "index_bits")
    return [Case(name, dict(zip(names, call))) for name, call in calls.items()]


def _rate(code=lambda n, a, b: a * b, index=lambda n, a, i: a * i if a < n else 0, book=lambda b: (2**b - 1) * 32, dense=lambda weights, kept: 32 * sum(weights),
          total=lambda dense, stored: dense / stored):
    """A family of answers: each argument is one decision that can go wrong."""
    def answer(weights, kept, bits, index_bits):
        stored = sum(code(n, a, b) + index(n, a, index_bits) + book(b) for n, a, b in zip(weights, kept, bits, strict=True))
        return total(dense(weights, kept), stored)
    return answer


def _hr_bytes(weights, kept, bits, index_bits):
    codes = [a * (b + index_bits * (a != n)) / 8 for n, a, b in zip(weights, kept, bits)]
    books = [4 * (2**b - 1) for b in bits]
    return 4 * sum(weights) / (sum(codes) + sum(books))


def _hr_tensor(weights, kept, bits, index_bits):
    n, a, b = (torch.tensor(x, dtype=torch.float64) for x in (weights, kept, bits))
    stored = a * b + torch.where(a < n, a * index_bits, 0) + 32 * (2**b - 1)
    return float(32 * n.sum() / stored.sum())


def _hr_shares(weights, kept, bits, index_bits):
    inverse = 0.0
    for n, a, b in zip(weights, kept, bits):
        each = b + index_bits if n > a else b
        inverse += (a * each + 32 * 2**b - 32) / (32 * sum(weights))
    return 1 / inverse


def _mean_of_rates(weights, kept, bits, index_bits):
    rates = [honest_rate([n], [a], [b], index_bits) for n, a, b in zip(weights, kept, bits)]
    return sum(rates) / len(rates)


RATE = Exercise(
    name="ch17.honest_rate",
    title="The honest rate",
    section="a-layer-of-few-values",
    hints=("List everything that a reader of the file needs: which value, which place, which values there are.",
           "Each kept weight costs its code, and in a pruned layer index_bits for its place. Each layer has a book of 2^b - 1 values (zero is not stored) of 32 bits. "
           "Divide the 32 bits of all weights by the sum over the layers.",
           "stored += a * (b + (index_bits if a < n else 0)) + (2**b - 1) * 32; then 32 * sum(weights) / stored."),
    cases=rate_cases,
    reference=honest_rate,
    alternatives=(_hr_bytes, _hr_tensor, _hr_shares),
    tolerance=1e-6,
    mistakes=(
        Mistake(_rate(book=lambda b: 0), "you forgot the code books. In a small layer they are most of the bytes."),
        Mistake(_rate(index=lambda n, a, i: 0), "you forgot the places: in a pruned layer each kept weight needs index_bits to say where it is."),
        Mistake(_rate(index=lambda n, a, i: a * i), "a layer without pruned weights needs no places: every weight is there, in order."),
        Mistake(_rate(book=lambda b: 2**b * 32), "you stored the zero. Code 0 always means 0, so a book has 2^b - 1 values."),
        Mistake(_rate(book=lambda b: (2**b - 1) * b), "the entries of a book are real numbers of 32 bits, not codes."),
        Mistake(_rate(code=lambda n, a, b: n * b), "pruned weights have no code: count the kept ones."),
        Mistake(_rate(dense=lambda weights, kept: 32 * sum(kept)), "the dense network has all weights, also those that are pruned later."),
        Mistake(_mean_of_rates, "you took the mean of the layers' rates. Add up the bits of all layers first, then divide once."),
        Mistake(_rate(total=lambda dense, stored: stored / dense), "upside down: the rate says how many times smaller the network is, dense over stored."),
        Mistake(_rate(dense=lambda weights, kept: 4 * sum(weights)), "bits and bytes are mixed: a dense weight has 32 bits."),
        Mistake(_rate(total=lambda dense, stored: 1 - stored / dense)),
        Mistake(_rate(code=lambda n, a, b: a * 2**b)),
        Mistake(_rate(total=lambda dense, stored: dense / stored - 1)),
    ),
)

# ---------------------------------------------------------------- a hashed layer


def hashed_layer(buckets, codes, signs, weight_gradient):
    return signs * buckets[codes], torch.zeros(len(buckets)).index_add_(0, codes.flatten(), (signs * weight_gradient).flatten())


def hashed_cases(generator):
    def make(out, inputs, count):
        codes = torch.randint(0, count, (out, inputs), generator=generator)
        signs = 1.0 - 2.0 * torch.randint(0, 2, (out, inputs), generator=generator)
        return _eighths(generator, count) + 0.0625, codes, signs, _eighths(generator, out, inputs) + 0.03125

    buckets, codes, _, gradient = make(2, 3, 3)
    few = make(2, 2, 6)
    calls = {
        "a worked example by hand": (torch.tensor([2.0, 5.0]), torch.tensor([[0, 1, 0]]), torch.tensor([[1.0, -1.0, -1.0]]), torch.tensor([[1.0, 3.0, 4.0]])),
        "all signs positive": (buckets, codes, torch.ones(2, 3), gradient),
        "signs of both kinds": make(2, 3, 3),
        "more buckets than weights": (few[0], few[1].clamp(max=4), *few[2:]),
        "one bucket for all": make(1, 4, 1),
        "a square layer": make(3, 3, 2),
    }
    names = ("buckets", "codes", "signs", "weight_gradient")
    return [Case(name, dict(zip(names, call))) for name, call in calls.items()]


def _hl_loop(buckets, codes, signs, weight_gradient):
    weight, gradient = torch.zeros(codes.shape), torch.zeros(len(buckets))
    for i, row in enumerate(codes.tolist()):
        for j, b in enumerate(row):
            weight[i, j] = signs[i, j] * buckets[b]
            gradient[b] += signs[i, j] * weight_gradient[i, j]
    return weight, gradient


def _hl_autograd(buckets, codes, signs, weight_gradient):
    leaf = buckets.clone().requires_grad_()
    weight = signs * leaf[codes]
    weight.backward(weight_gradient)
    return weight.detach(), leaf.grad


def _hl_onehot(buckets, codes, signs, weight_gradient):
    members = torch.nn.functional.one_hot(codes, len(buckets)).float() * signs[..., None]
    return members @ buckets, (members * weight_gradient[..., None]).sum((0, 1))


def _hashed(weight=lambda b, c, s, g: s * b[c], gradient=lambda b, c, s, g: hashed_layer(b, c, s, g)[1]):
    def answer(buckets, codes, signs, weight_gradient):
        call = (buckets, codes, signs, weight_gradient)
        return weight(*call), gradient(*call)
    return answer


def _sum(buckets, codes, gradient):
    return torch.zeros(len(buckets)).index_add_(0, codes.flatten(), gradient.flatten())


def _overwritten(b, c, s, g):
    out = torch.zeros(len(b))
    for code, value in zip(c.flatten().tolist(), (s * g).flatten()):
        out[code] = value
    return out


def _only_used_buckets(buckets, codes, signs, weight_gradient):
    weight, gradient = hashed_layer(buckets, codes, signs, weight_gradient)
    used = codes.unique()
    return (weight, gradient[used]) if len(used) < len(buckets) else AnyWrong()


def _count(b, c):
    return torch.bincount(c.flatten(), minlength=len(b))


HASHED = Exercise(
    name="ch17.hashed_layer",
    title="A hashed layer",
    section="hashednets-the-rival",
    hints=("Forward: look up, then the sign. Backward: the chain rule through both. What is the derivative of xi * w by w?",
           "weight = signs * buckets[codes]. For the buckets: multiply each gradient by the sign of its place, then add it to its bucket. "
           "A bucket that no place uses has gradient 0.",
           "torch.zeros(len(buckets)).index_add_(0, codes.flatten(), (signs * weight_gradient).flatten())."),
    cases=hashed_cases,
    reference=hashed_layer,
    alternatives=(_hl_loop, _hl_autograd, _hl_onehot),
    tolerance=1e-5,
    mistakes=(
        Mistake(_hashed(gradient=lambda b, c, s, g: _sum(b, c, g)), "the gradient has lost the signs: a place with sign -1 pulls its bucket the other way."),
        Mistake(_hashed(weight=lambda b, c, s, g: b[c]), "the weight has lost the signs: W = sign * bucket."),
        Mistake(_hashed(gradient=lambda b, c, s, g: _sum(b, c, s * g) / _count(b, c).clamp(min=1)),
                "this is the mean over a bucket's places. The gradient is the sum.", "sum-or-mean"),
        Mistake(_hashed(gradient=_overwritten), "places of one bucket overwrite each other. Accumulate: index_add_ or +=."),
        Mistake(_hashed(gradient=lambda b, c, s, g: (s * g)), "you returned a gradient for each place. The parameters are the buckets: one number each."),
        Mistake(_hashed(gradient=lambda b, c, s, g: _sum(b, c, s * g * b[c]))),
        Mistake(_only_used_buckets,
                "a bucket that no place uses has vanished. Its gradient is 0."),
        Mistake(lambda buckets, codes, signs, weight_gradient: hashed_layer(buckets, codes, signs, weight_gradient)[::-1],
                "the two results are in the wrong order: first the weight, then the gradient of the buckets."),
        Mistake(_hashed(weight=lambda b, c, s, g: s * b[(c + 1) % len(b)] if len(b) > 1 else -s * b[c])),
        Mistake(_hashed(gradient=lambda b, c, s, g: -_sum(b, c, s * g))),
        Mistake(_hashed(gradient=lambda b, c, s, g: _sum(b, c, s * g) * 2)),
    ),
)

# ---------------------------------------------------------------- find the bug


def shared_step(codebook, codes, weight_gradient, lr):
    new = codebook - lr * torch.zeros_like(codebook).index_add_(0, codes.flatten(), weight_gradient.flatten())
    new[0] = 0
    return new, new[codes]


def step_cases(generator):
    def make(shape, k, low=0, lr=0.5):
        book = torch.cat([torch.zeros(1), (_eighths(generator, k) + 0.0625).sort().values])
        return book, torch.randint(low, k + 1, shape, generator=generator), _eighths(generator, *shape) + 0.03125, lr

    book, codes, gradient, lr = make((2, 4), 3)
    codes[0, :3] = torch.tensor([0, 1, 1])
    calls = {
        "the colleague's example": (torch.tensor([0.0, -1.0, 2.0]), torch.tensor([[1, 2]]), torch.tensor([[0.5, -0.25]]), 1.0),
        "two members of one value": (torch.tensor([0.0, -1.0, 2.0]), torch.tensor([[1, 1, 2]]), torch.tensor([[0.5, 0.25, 1.0]]), 1.0),
        "a pruned weight": (torch.tensor([0.0, 3.0]), torch.tensor([[0, 1], [1, 0]]), _eighths(generator, 2, 2) + 2.25, 0.25),
        "a pruned layer": (book, codes, gradient, lr),
        "nothing pruned, many members": make((1, 6), 2, low=1, lr=0.125),
    }
    names = ("codebook", "codes", "weight_gradient", "lr")
    return [Case(name, dict(zip(names, call))) for name, call in calls.items()]


def _last(book, codes, gradient):
    out = torch.zeros_like(book)
    for code, g in zip(codes.flatten().tolist(), gradient.flatten()):
        out[code] = g
    return out


def _total(book, codes, gradient):
    return torch.zeros_like(book).index_add_(0, codes.flatten(), gradient.flatten())


def _step(gather=_total, pin=True, fresh=True, sign=-1.0):
    """The colleague's function, some of its three bugs repaired."""
    def answer(codebook, codes, weight_gradient, lr):
        new = codebook + sign * lr * gather(codebook, codes, weight_gradient)
        if pin:
            new[0] = 0
        return new, (new if fresh else codebook)[codes]
    return answer


def _ss_loop(codebook, codes, weight_gradient, lr):
    new = codebook.tolist()
    for code, g in zip(codes.flatten().tolist(), weight_gradient.flatten().tolist()):
        if code:
            new[code] -= lr * g
    return torch.tensor(new), torch.tensor([new[c] for c in codes.flatten().tolist()]).reshape(codes.shape)


def _ss_autograd(codebook, codes, weight_gradient, lr):
    values = codebook[1:].clone().requires_grad_()
    torch.cat([torch.zeros(1), values])[codes].backward(weight_gradient)
    new = torch.cat([torch.zeros(1), (values - lr * values.grad).detach()])
    return new, new[codes]


def _ss_masks(codebook, codes, weight_gradient, lr):
    new = codebook.clone()
    for k in range(1, len(codebook)):
        new[k] -= lr * weight_gradient[codes == k].sum()
    return new, new[codes]


def _average(book, codes, gradient):
    return _total(book, codes, gradient) / torch.bincount(codes.flatten(), minlength=len(book)).clamp(min=1)


def _reassigned(codebook, codes, weight_gradient, lr):
    new, weight = shared_step(codebook, codes, weight_gradient, lr)
    drifted = codebook[codes] - lr * weight_gradient
    return new, new[(drifted[..., None] - new).abs().argmin(-1)]


def _free(codebook, codes, weight_gradient, lr):
    return shared_step(codebook, codes, weight_gradient, lr)[0], codebook[codes] - lr * weight_gradient


FIND_THE_BUG = Exercise(
    name="ch17.find_the_bug",
    title="Find the bug",
    section="pruned-weights-stay-zero",
    hints=("Three questions: what does book[codes] -= x do when a code occurs twice? Who may move the entry 0? From which book is the new weight read?",
           "Indexed assignment keeps only the last of several members: accumulate with index_add_. Entry 0 is a constant. The weight is read from the new book.",
           "new = codebook - lr * torch.zeros_like(codebook).index_add_(0, codes.flatten(), weight_gradient.flatten()); new[0] = 0; return new, new[codes]."),
    cases=step_cases,
    reference=shared_step,
    alternatives=(_ss_loop, _ss_autograd, _ss_masks),
    tolerance=1e-5,
    mistakes=(
        Mistake(_step(gather=_last, pin=False, fresh=False), "all three bugs are still there. Start with a code that occurs twice: how far does its value move?"),
        Mistake(_step(gather=_last), "one bug is left. Members of one value overwrite each other: indexed assignment does not add up.", "the-gradient-of-a-shared-value"),
        Mistake(_step(pin=False), "one bug is left. The entry 0 moved, and with it every pruned weight: it is a constant."),
        Mistake(_step(fresh=False), "one bug is left. The weight is read from the old book: look it up after the step."),
        Mistake(_step(gather=_last, pin=False), "the lookup is repaired. Two bugs are left: members overwrite each other, and the entry 0 moves."),
        Mistake(_step(gather=_last, fresh=False), "the entry 0 is repaired. Two bugs are left: members overwrite each other, and the weight is read from the old book."),
        Mistake(_step(pin=False, fresh=False), "the sum is repaired. Two bugs are left: the entry 0 moves, and the weight is read from the old book."),
        Mistake(_step(gather=_average), "you repaired the bugs and then took the mean of the members. The gradient is their sum.", "sum-or-mean"),
        Mistake(_step(sign=1.0)),
        Mistake(_free),
        Mistake(_reassigned),
        Mistake(lambda codebook, codes, weight_gradient, lr: shared_step(codebook, codes, weight_gradient, 2 * lr)),
        Mistake(lambda codebook, codes, weight_gradient, lr: shared_step(codebook, codes, weight_gradient, lr)[::-1]),
    ),
)

EXERCISES = [LINEAR, ASSIGN, GRADIENT, RATE, HASHED, FIND_THE_BUG]
