"""Checks of chapter 04. For each exercise: cases, the reference, other right answers, and the mistakes that learners make.

How cases, mistakes and hints work is told in the checks of chapter 02. Real inputs are drawn as codes times a power of two, so that every
right way to compute a scale gives the same codes and nothing depends on the last bit.
"""

import torch

from qtoolkit.check import AnyWrong, Case, Exercise, Mistake


def whole(generator, low, high):
    """A drawn integer from low to high."""
    return int(torch.randint(low, high + 1, (1,), generator=generator))


# ---------------------------------------------------------------- dynamic layer


def dynamic_linear(x, q_w, s_w):
    largest = x.abs().amax(dim=1, keepdim=True)
    scale = torch.where(largest > 0, largest / 127, torch.ones_like(largest))
    q_x = torch.round(x / scale).to(torch.int32)
    return (q_x @ q_w.to(torch.int32).T) * scale * s_w


def layer_cases(generator):
    def tokens(count, width, louder=4, sign=1):
        """Rows of codes with a fraction, the largest magnitude 127, each row at a scale of its own."""
        codes = torch.randint(-90, 91, (count, width), generator=generator) + 0.25 * (-1.0) ** torch.arange(width)
        codes[torch.arange(count), torch.randint(0, width, (count,), generator=generator)] = 127.0 * sign
        powers = torch.arange(count) % louder - torch.randint(3, 6, (1,), generator=generator)
        return codes * 2.0 ** powers[:, None]

    def layer(outputs, inputs):
        codes = torch.randint(-127, 128, (outputs, inputs), generator=generator, dtype=torch.int8)
        return codes, 2.0 ** -(torch.arange(outputs) % 3 + whole(generator, 5, 8)).float()

    silent = tokens(3, 4)
    silent[1] = 0
    step = 2.0 ** whole(generator, -3, 3)
    by_hand = torch.tensor([[127.0, 20.4], [-63.6, 127.0]]) * step, torch.tensor([[1, 2]], dtype=torch.int8), torch.tensor([0.5])
    calls = {
        "two tokens by hand": by_hand,
        "a loud token beside quiet ones": (tokens(3, 5, louder=3), *layer(2, 5)),
        "as many tokens as outputs": (tokens(3, 4), *layer(3, 4)),
        "as many tokens as inputs": (tokens(4, 4), *layer(2, 4)),
        "the largest value is negative": (tokens(2, 6, sign=-1), *layer(4, 6)),
        "a token of zeros": (silent, *layer(2, 4)),
        "one token": (tokens(1, 7), *layer(3, 7)),
    }
    return [Case(name, {"x": x, "q_w": w, "s_w": s}) for name, (x, w, s) in calls.items()]


def _largest(x):
    return x.abs().amax(1, keepdim=True)


def _dyn(largest=_largest, top=127, rounding=torch.round, token=lambda scale: scale, weight=lambda s_w: s_w, keep=lambda q: q, guard=True):
    """A family of answers: each argument is one decision that can go wrong."""
    def answer(x, q_w, s_w):
        reach = largest(x)
        if not guard and bool((reach == 0).any()):
            return AnyWrong()  # 0 / 0
        scale = torch.where(reach > 0, reach / top, torch.ones_like(reach))
        q = rounding(x / scale).clamp(-128, 127)
        return keep(q.double() @ q_w.double().T).float() * token(scale) * weight(s_w)
    return answer


def _wrapped(q):
    return (q + 128) % 256 - 128


def _dl_loop(x, q_w, s_w):
    y = torch.zeros(len(x), len(q_w))
    for t, row in enumerate(x.tolist()):
        scale = max(abs(v) for v in row) / 127 or 1.0
        codes = [round(v / scale) for v in row]
        for j, weights in enumerate(q_w.tolist()):
            y[t, j] = scale * float(s_w[j]) * sum(a * b for a, b in zip(codes, weights, strict=True))
    return y


def _dl_einsum(x, q_w, s_w):
    scale = (x.abs().max(dim=-1).values / 127).masked_fill((x == 0).all(-1), 1.0)
    sums = torch.einsum("tk,jk->tj", torch.round(x / scale[:, None]).double(), q_w.double())
    return (torch.outer(scale.double(), s_w.double()) * sums).float()


def _dl_linear(x, q_w, s_w):
    scale = torch.linalg.vector_norm(x, ord=float("inf"), dim=1, keepdim=True).clamp(min=1e-30) / 127
    return torch.nn.functional.linear(torch.round(x / scale) * scale, q_w.float() * s_w[:, None])


DYNAMIC_LINEAR = Exercise(
    name="ch04.dynamic_linear",
    title="Dynamic layer",
    section="a-range-for-each-token",
    hints=("Every row of x has a scale of its own. It is found before the product and multiplied back after it.",
           "Rows of x are rows of y: their scales need the shape (tokens, 1). The weights' scales belong to the columns of y. What is the "
           "scale of a row of zeros?",
           "scale = x.abs().amax(1, keepdim=True) / 127, with 1 where it is 0; q = torch.round(x / scale).to(torch.int32); "
           "(q @ q_w.to(torch.int32).T) * scale * s_w."),
    cases=layer_cases,
    reference=dynamic_linear,
    alternatives=(_dl_loop, _dl_einsum, _dl_linear),
    tolerance=1e-5,
    mistakes=(
        Mistake(_dyn(largest=lambda x: x.abs().max()), "you took one scale for the whole tensor. A loud token then takes the levels of all "
                "others: take the largest magnitude of each row, dim=1.", "one-outlier-ruins-a-layer"),
        Mistake(_dyn(largest=lambda x: x.abs().amax(0, keepdim=True), token=lambda scale: scale.T),
                "you measured along the wrong axis, over the tokens of a channel. A channel's scale cannot leave the sum: measure each row."),
        Mistake(lambda x, q_w, s_w: _dyn(token=lambda scale: scale.T)(x, q_w, s_w),
                "you multiplied the token scales along the outputs. Row t of y belongs to token t: keep the shape (tokens, 1)."),
        Mistake(_dyn(weight=lambda s_w: s_w[:, None]),
                "you multiplied the weight scales along the tokens. Column j of y belongs to output j: s_w has the shape of a row."),
        Mistake(_dyn(token=lambda scale: 1.0), "the scales of the tokens are missing: the sums are in units of s_t S_j."),
        Mistake(_dyn(weight=lambda s_w: 1.0), "the scales of the weights are missing: the sums are in units of s_t S_j."),
        Mistake(_dyn(top=128), "the highest code is 127: divide the largest magnitude by 127, not by 128."),
        Mistake(_dyn(largest=lambda x: x.amax(1, keepdim=True).clamp(min=0)),
                "you took the largest value. A large negative value needs the range as well: take the largest magnitude."),
        Mistake(_dyn(rounding=torch.trunc), "you cut off the fraction instead of rounding to the nearest code."),
        Mistake(_dyn(rounding=lambda v: v), "you never rounded: these are real numbers, not codes."),
        Mistake(_dyn(guard=False), "a token of zeros has no range to divide by: give it the scale 1."),
        Mistake(_dyn(keep=_wrapped), "the product wrapped around in int8: convert the codes to int32 before multiplying."),
        Mistake(_dyn(rounding=torch.floor)),
        Mistake(_dyn(token=lambda scale: 1 / scale)),
        Mistake(_dyn(largest=lambda x: x.abs().mean(1, keepdim=True))),
        Mistake(lambda x, q_w, s_w: -dynamic_linear(x, q_w, s_w)),
    ),
)

# ---------------------------------------------------------------- static range


def static_range(batches, momentum):
    lo, hi = batches[0].min().item(), batches[0].max().item()
    for batch in batches[1:]:
        lo += momentum * (batch.min().item() - lo)
        hi += momentum * (batch.max().item() - hi)
    return lo, hi


def running_cases(generator):
    def batch(lo, hi, *shape):
        """A batch whose smallest and largest value are lo and hi."""
        x = lo + (hi - lo) * torch.randint(1, 16, shape or (6,), generator=generator) / 16
        x.view(-1)[:2] = torch.tensor([lo, hi])
        return x

    def ends():
        return -whole(generator, 1, 20) / 4, whole(generator, 4, 40) / 4

    a, b, c = ends(), ends(), ends()
    calls = {
        "one batch": ([batch(*a)], 0.5),
        "two batches": ([batch(*a), batch(b[0] - 1, b[1] + 1)], 0.25),
        "three batches": ([batch(*a), batch(a[0] / 2, a[1] + 3), batch(*c)], 0.25),
        "a loud batch in the middle": ([batch(*b), batch(b[0] - 40, b[1] + 60), batch(*b), batch(*b)], 0.125),
        "no value is negative": ([batch(1.0, 3.0 + b[1]), batch(2.5, 4.0), batch(0.5, 9.0)], 0.5),
        "batches of different shapes": ([batch(*a, 2, 3), batch(*c, 5), batch(b[0] - 2, b[1] + 2, 2, 2, 2)], 0.75),
    }
    return [Case(name, {"batches": batches, "momentum": momentum}) for name, (batches, momentum) in calls.items()]


def _run(start=lambda batch: (batch.min().item(), batch.max().item()), rest=lambda batches: batches[1:],
         ends=lambda x: (x.min().item(), x.max().item()), step=lambda old, new, c: old + c * (new - old)):
    """A family of answers: each argument is one decision that can go wrong."""
    def answer(batches, momentum):
        lo, hi = start(batches[0])
        for batch in rest(batches):
            low, high = ends(batch)
            lo, hi = step(lo, low, momentum), step(hi, high, momentum)
        return lo, hi
    return answer


def _joined(batches):
    return torch.cat([batch.flatten() for batch in batches])


def _sr_weights(batches, momentum):
    n = len(batches)
    weights = [(1 - momentum) ** (n - 1) if i == 0 else momentum * (1 - momentum) ** (n - 1 - i) for i in range(n)]
    return sum(w * float(b.min()) for w, b in zip(weights, batches, strict=True)), sum(w * float(b.max()) for w, b in zip(weights, batches, strict=True))


def _sr_recursive(batches, momentum):
    *before, last = batches
    if not before:
        return float(last.min()), float(last.max())
    lo, hi = _sr_recursive(before, momentum)
    return (1 - momentum) * lo + momentum * float(last.min()), (1 - momentum) * hi + momentum * float(last.max())


def _sr_tensor(batches, momentum):
    ends = torch.tensor([[b.min(), b.max()] for b in batches], dtype=torch.float64)
    running = ends[0]
    for row in ends:
        running = torch.lerp(running, row, momentum)
    return running[0].item(), running[1].item()


STATIC_RANGE = Exercise(
    name="ch04.static_range",
    title="Static range",
    section="how-much-calibration-is-enough",
    hints=("A moving average keeps most of what it knows and moves a little toward what is new.",
           "The first batch has nothing to be averaged with: start there. Then each end moves by the share `momentum` of its distance to the "
           "new end.",
           "lo, hi = batches[0].min().item(), batches[0].max().item(); then for each further batch "
           "lo += momentum * (batch.min().item() - lo), and the same for hi."),
    cases=running_cases,
    reference=static_range,
    alternatives=(_sr_weights, _sr_recursive, _sr_tensor),
    tolerance=1e-5,
    mistakes=(
        Mistake(_run(start=lambda batch: (0.0, 0.0), rest=lambda batches: batches),
                "you started from 0, so the range is too short for a long time. Start with the first batch."),
        Mistake(_run(step=lambda old, new, c: c * old + (1 - c) * new),
                "you swapped the shares: momentum is the share of the new batch, 1 - momentum that of the old range."),
        Mistake(_run(step=lambda old, new, c: old + c * new), "you added a share of the new end. Move by a share of the *distance*: new - old."),
        Mistake(lambda batches, momentum: (_joined(batches).min().item(), _joined(batches).max().item()),
                "these are the smallest and the largest value of all batches. One loud batch then decides: average the ends instead."),
        Mistake(lambda batches, momentum: (sum(float(b.min()) for b in batches) / len(batches), sum(float(b.max()) for b in batches) / len(batches)),
                "this is the plain mean of the ends: momentum plays no part in it."),
        Mistake(lambda batches, momentum: (batches[-1].min().item(), batches[-1].max().item()),
                "this is the range of the last batch. A static range remembers the earlier ones."),
        Mistake(lambda batches, momentum: (batches[0].min().item(), batches[0].max().item()), "only the first batch counts in your range."),
        Mistake(_run(start=lambda x: (-x.abs().max().item(), x.abs().max().item()), ends=lambda x: (-x.abs().max().item(), x.abs().max().item())),
                "you made the range symmetric. The two ends are averaged apart."),
        Mistake(lambda batches, momentum: static_range(batches, momentum)[::-1], "the ends are in the wrong order: first lo, then hi."),
        Mistake(_run(start=lambda x: (min(x.min().item(), 0.0), x.max().item()), ends=lambda x: (min(x.min().item(), 0.0), x.max().item())),
                "you widened each batch to contain 0. That is the quantizer's business; an observer reports what it saw."),
        Mistake(_run(rest=lambda batches: batches[:-1]), "the last batch is missing."),
        Mistake(_run(rest=lambda batches: batches[:0:-1])),
        Mistake(_run(step=lambda old, new, c: old + c * abs(new - old))),
        Mistake(_run(start=lambda x: (x.mean().item(), x.mean().item()), rest=lambda batches: batches)),
    ),
)

# ---------------------------------------------------------------- find the bug


def calibrate_then_run(calibration, inputs, bits):
    lo = min(0.0, *(float(x.min()) for x in calibration))
    hi = max(0.0, *(float(x.max()) for x in calibration))
    scale = (hi - lo) / (2**bits - 1)
    zero_point = round(-lo / scale)
    return [scale * (torch.clamp(torch.round(x / scale) + zero_point, 0, 2**bits - 1) - zero_point) for x in inputs]


def service_cases(generator):
    def exact(low, high, bits, step):
        """A batch from code `low` to code `high` in units of `step`."""
        x = torch.randint(low, high + 1, (6,), generator=generator).float()
        x[:2] = torch.tensor([low, high])
        return x * step

    def draw(bits, louder):
        """Calibration batches whose range together has as many steps as there are gaps, and inputs that are `louder` times as large."""
        step, below = 2.0 ** whole(generator, -3, 2), whole(generator, 1, 2 ** (bits - 1) - 1)
        above = 2**bits - 1 - below
        batches = [exact(-below, above, bits, step), exact(-(below // 2), above // 2, bits, step)]
        inputs = [louder * (exact(-below, above, bits, step) + 0.25 * step), exact(-below, above, bits, step) / 2 + 0.25 * step]
        return batches, inputs, bits

    batches, _, bits = draw(4, 1)
    positive = [torch.tensor([4.0, 15.0, 9.5]), torch.tensor([6.0, 11.0])]
    calls = {
        "the careless test": (batches[:1], batches[:1], bits),
        "a louder input": draw(4, 4),
        "two batches, ordinary inputs": draw(8, 1),
        "the quiet batch first": (lambda b, i, n: (b[::-1], i, n))(*draw(5, 1)),
        "a loud input, then an ordinary one": draw(6, 10 + whole(generator, 0, 5)),
        "an ordinary input, then a loud one": (lambda b, i, n: (b, i[::-1], n))(*draw(5, 6)),
        "calibration without a negative value or zero": (positive, [torch.tensor([0.3, 3.2, 8.6, 15.0, 2.0 + whole(generator, 20, 40)])], 4),
    }
    return [Case(name, {"calibration": c, "inputs": i, "bits": b}) for name, (c, i, b) in calls.items()]


def _service(keeps_updating=False, forgets=False, no_clamp=False, zero=True, steps=lambda bits: 2**bits - 1, look_ahead=False, codes=False,
             clamp_values=False, symmetric=False):
    """The colleague's function, each argument one bug or one decision that can go wrong."""
    def answer(calibration, inputs, bits):
        lo, hi, outputs = None, None, []

        def watch(x):
            nonlocal lo, hi
            low, high = float(x.min()), float(x.max())
            if zero:
                low, high = min(low, 0.0), max(high, 0.0)
            if symmetric:
                low, high = -max(-low, high), max(-low, high)
            lo, hi = (low, high) if lo is None or forgets else (min(lo, low), max(hi, high))

        for x in [*calibration, *(inputs if look_ahead else [])]:
            watch(x)
        for x in inputs:
            if keeps_updating:
                watch(x)
            scale = (hi - lo) / steps(bits)
            zero_point = round(-lo / scale)
            q = torch.round(x / scale) + zero_point
            q = q if no_clamp else q.clamp(0, 2**bits - 1)
            outputs.append(q if codes else scale * (q - zero_point))
        return outputs
    return answer


def _ctr_class(calibration, inputs, bits):
    class Static:
        def __init__(self):
            ends = torch.cat([x.flatten() for x in calibration] + [torch.zeros(1)])
            self.scale = ((ends.max() - ends.min()) / (2**bits - 1)).item()
            self.zero_point = int(torch.round(-ends.min() / self.scale))

        def __call__(self, x):
            return torch.fake_quantize_per_tensor_affine(x, self.scale, self.zero_point, 0, 2**bits - 1)

    quantizer = Static()
    return [quantizer(x) for x in inputs]


def _ctr_loop(calibration, inputs, bits):
    lo = hi = 0.0
    for x in calibration:
        lo, hi = min(lo, x.min().item()), max(hi, x.max().item())
    scale, top = (hi - lo) / (2**bits - 1), 2**bits - 1
    z = round(-lo / scale)
    return [torch.tensor([scale * (max(0, min(top, round(v / scale) + z)) - z) for v in x.tolist()]) for x in inputs]


def _ctr_clamp_first(calibration, inputs, bits):
    every = torch.cat([x.flatten() for x in calibration])
    lo, hi = every.clamp(max=0).min(), every.clamp(min=0).max()
    scale = (hi - lo) / (2**bits - 1)
    z = torch.round(-lo / scale)
    return tuple((torch.round((x / scale).clamp(-z, 2**bits - 1 - z))) * scale for x in inputs)


FIND_THE_BUG = Exercise(
    name="ch04.find_the_bug",
    title="Find the bug",
    section="two-sources-of-a-range",
    hints=("A static range is made of all calibration batches and of nothing else, and it has two ends.",
           "Calibrate with a loud batch and then a quiet one. Then send an input four times as loud, and an ordinary one after it: does the second "
           "answer depend on the first input?",
           "First a loop over calibration: lo = min(lo, ...), hi = max(hi, ...). Then scale and zero point, once. Then a loop over inputs that "
           "rounds, adds the zero point, clamps to 0..2**bits - 1 and goes back."),
    cases=service_cases,
    reference=calibrate_then_run,
    alternatives=(_ctr_class, _ctr_loop, _ctr_clamp_first),
    tolerance=1e-5,
    mistakes=(
        Mistake(_service(keeps_updating=True, forgets=True, no_clamp=True),
                "all three bugs are still there. Does an input change the range with which it is quantized?"),
        Mistake(_service(keeps_updating=True), "your range still grows while it is in use: a loud input changes the answers to all later ones. "
                "Freeze it after calibration, and then look at what lies beyond its ends."),
        Mistake(_service(forgets=True), "one bug is left: your range is that of the last calibration batch. Take the smallest and the largest of all.",
                "how-much-calibration-is-enough"),
        Mistake(_service(no_clamp=True), "one bug is left: codes beyond the ends. With b bits there is no code above 2^b - 1: clamp before you go back."),
        Mistake(_service(forgets=True, no_clamp=True), "the range is frozen. Two bugs are left: it is that of the last batch only, and codes leave it."),
        Mistake(_service(zero=False), "your range need not contain 0. If all calibration values are positive, start at 0."),
        Mistake(_service(look_ahead=True), "you calibrated with the inputs as well. In use they are not known beforehand."),
        Mistake(_service(codes=True), "these are codes. Go back to real numbers: S (q - Z)."),
        Mistake(_service(symmetric=True), "your range is symmetric. Let it end where the calibration values end, on either side."),
        Mistake(_service(steps=lambda bits: 2**bits), "you divided by 2^b, the number of levels. There is one gap fewer."),
        Mistake(lambda calibration, inputs, bits: [torch.cat(calibration).clamp(0).max().clamp(min=0) + 0 * x for x in inputs]),
        Mistake(lambda calibration, inputs, bits: calibrate_then_run(calibration, inputs, bits)[::-1] + [inputs[0]]),
        Mistake(lambda calibration, inputs, bits: list(inputs)),
        Mistake(lambda calibration, inputs, bits: calibrate_then_run(calibration[:1], inputs, bits - 1)),
    ),
)

EXERCISES = [DYNAMIC_LINEAR, STATIC_RANGE, FIND_THE_BUG]
