"""Checks of chapter 02. For each exercise: cases, the reference, other right answers, and the mistakes that learners make.

`cases(generator)` draws the calls: seed 0 gives the visible ones, other seeds the hidden ones. The name of a case is what a
learner reads when it fails. A Mistake is a wrong answer, as learners type it, and the hint that names it; one without a hint
is made by machine and only has to be caught. Where arithmetic is undefined (a float beyond int8 cast to int8, 0 / 0 cast to an
integer), a mistake returns AnyWrong(): any value but the right one is then taken for it. `qt verify` proves all of it.
"""

import torch

from qtoolkit.check import AnyWrong, Case, Exercise, Mistake


def whole(generator, low, high):
    """A drawn integer from low to high."""
    return int(torch.randint(low, high + 1, (1,), generator=generator))


# ---------------------------------------------------------------- scale and zero point


def scale_zero_point(lo, hi, bits):
    lo, hi = min(lo, 0.0), max(hi, 0.0)
    scale = (hi - lo) / (2**bits - 1) or 1.0
    return scale, round(-lo / scale)


def range_cases(generator):
    a, b, c = (whole(generator, 4, 24) / 8 for _ in range(3))
    ranges = {
        "a range on both sides of zero": (-a, a + b, 4),
        "zero exactly between two codes": (-a, a, 1),
        "all numbers positive": (b, b + c, 8),
        "all numbers negative": (-b - c, -b, 3),
        "an empty range": (0.0, 0.0, 8),
        "a zero point that is rounded up": (-c, 0.75 * c, 2),
        "an odd bit width": (-a / 3, b / 7, 5),
    }
    return [Case(name, {"lo": lo, "hi": hi, "bits": bits}) for name, (lo, hi, bits) in ranges.items()]


def _sz(widen=True, steps=lambda bits: 2**bits - 1, zero=lambda lo, scale, bits: round(-lo / scale), empty=1.0):
    """A family of answers: each argument is one decision that can go wrong."""
    def answer(lo, hi, bits):
        if widen:
            lo, hi = min(lo, 0.0), max(hi, 0.0)
        scale = (hi - lo) / steps(bits) or empty
        return scale, zero(lo, scale, bits)
    return answer


def _sz_unguarded(lo, hi, bits):
    return scale_zero_point(lo, hi, bits) if lo != hi else AnyWrong()  # an error, NaN or a tiny scale


def _sz_symmetric(lo, hi, bits):
    steps = 2 ** (bits - 1) - 1
    return (max(abs(lo), abs(hi)) / steps or 1.0, 0) if steps else AnyWrong()


def _sz_tensor(lo, hi, bits):
    ends = torch.tensor([lo, hi, 0.0], dtype=torch.float64)
    scale = (ends.max() - ends.min()) / (2**bits - 1)
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    return scale.item(), int(torch.round(-ends.min() / scale))


def _sz_branches(lo, hi, bits):
    if lo > 0:
        lo = 0.0
    if hi < 0:
        hi = 0.0
    if lo == hi:
        return 1.0, 0
    scale = (hi - lo) / (2**bits - 1)
    return scale, int(round(0 - lo / scale))


def _sz_from_the_top(lo, hi, bits):
    lo, hi, top = min(lo, 0), max(hi, 0), 2**bits - 1
    if hi == lo:
        return 1.0, 0
    scale = hi / top - lo / top
    return scale, round((0 - lo) / scale)


SCALE_ZERO_POINT = Exercise(
    name="ch02.scale_zero_point",
    title="Scale and zero point",
    section="asymmetric-quantization-and-the-zero-point",
    hints=("The ruler has 2^b marks. Count the gaps between them, not the marks, and make sure that the real number 0 gets a mark of its own.",
           "Three steps: widen the range until it contains 0; divide its length by the number of gaps; find the code at which 0 lies, "
           "as an integer. What if the length is 0?",
           "lo, hi = min(lo, 0.0), max(hi, 0.0); scale = (hi - lo) / (2**bits - 1), or 1.0 if that is 0; zero_point = round(-lo / scale)."),
    cases=range_cases,
    reference=scale_zero_point,
    alternatives=(_sz_tensor, _sz_branches, _sz_from_the_top),
    tolerance=1e-6,
    mistakes=(
        Mistake(_sz(steps=lambda bits: 2**bits), "you divided by 2^b, the number of marks. There is one gap fewer: 2^b - 1."),
        Mistake(_sz(widen=False),
                "your range does not always contain 0. If all numbers are positive, start at 0; if all are negative, end at 0."),
        Mistake(_sz(zero=lambda lo, scale, bits: -lo / scale),
                "the zero point must be an integer code: round it, so that the real number 0 lies exactly on a mark."),
        Mistake(_sz(zero=lambda lo, scale, bits: round(lo / scale)),
                "the sign of your zero point is the survey's. Here x = S (q - Z): the code of the lowest number is 0, so Z = -lo / S."),
        Mistake(_sz(zero=lambda lo, scale, bits: int(-lo / scale)), "int() cuts off the fraction. Round to the nearest code instead."),
        Mistake(_sz(zero=lambda lo, scale, bits: int(-lo / scale + 0.5)),
                "you round a tie up. Round half to even, as round() and torch.round do.", "rounding-and-clamping"),
        Mistake(_sz(zero=lambda lo, scale, bits: -(2 ** (bits - 1)) - round(lo / scale)),
                "this is the zero point of signed codes. Here the codes start at 0, and so does the ruler."),
        Mistake(_sz_unguarded, "an empty range has no length to divide: give it the scale 1 and the zero point 0."),
        Mistake(_sz_symmetric, "this is the symmetric scale. The asymmetric ruler reaches from lo to hi and slides its zero point.",
                "symmetric-quantization"),
        Mistake(_sz(zero=lambda lo, scale, bits: 0), "the zero point is not always 0: it is the code at which the real number 0 lies."),
        Mistake(lambda lo, hi, bits: scale_zero_point(lo, hi, bits)[::-1],
                "the two numbers are in the wrong order: first the scale, then the zero point."),
        Mistake(_sz(steps=lambda bits: 2 ** (bits - 1) - 1 or 1)),
        Mistake(_sz(steps=lambda bits: bits)),
        Mistake(_sz(zero=lambda lo, scale, bits: round(-lo / scale) + 1)),
    ),
)

# ---------------------------------------------------------------- quantize


def quantize(x, scale, zero_point, bits):
    q = torch.round(x / scale) + zero_point
    return q.clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1).to(torch.int8)


def number_cases(generator):
    ties = torch.tensor([0.5, 1.5, -0.5, -1.5, 2.5, -2.5]) + 2 * whole(generator, 0, 3) * torch.tensor([1, 1, -1, -1, 1, -1])
    far, odd, some = whole(generator, 0, 9), 2 * whole(generator, -3, 3) + 1, torch.randn(2, 4, generator=generator)
    tenths = torch.randint(-20, 21, (5,), generator=generator) / 10
    calls = {
        "ordinary numbers": (tenths, 0.25, 0, 8),
        "ties go to the even neighbor": (ties, 1.0, 0, 8),
        "ties and an odd zero point": (ties, 1.0, odd, 8),
        "saturates at both ends": (torch.tensor([-100.0 - far, 100.0 + far, 3.2, -3.2]), 0.5, 0, 8),
        "a zero point": (torch.tensor([-1.0, 0.0, 1.0, 60.0 + far]), 0.5, 10, 8),
        "fewer bits end earlier": (torch.tensor([-9.0 - far, 9.0 + far, 0.4, -0.6]), 1.0, 1, 4),
        "an odd bit width": (torch.tensor([-9.0 - far, 9.0 + far, 1.6, -1.6]), 1.0, -1, 3),
        "a matrix that is not contiguous in memory": (some.T, 0.125, 3, 8),
    }
    return [Case(name, {"x": x, "scale": s, "zero_point": z, "bits": b}) for name, (x, s, z, b) in calls.items()]


def _ends(bits):
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def _cast(q):
    """What a cast to int8 gives: nothing that is defined, if a number is beyond int8."""
    return AnyWrong() if (q.abs() > 127.5).any() and not (-128 <= q.min() and q.max() <= 127) else q.to(torch.int8)


def _q(place=lambda x, scale, zero_point: torch.round(x / scale) + zero_point, ends=_ends, cast=_cast):
    """A family of answers: each argument is one decision that can go wrong."""
    def answer(x, scale, zero_point, bits):
        return cast(place(x, scale, zero_point).clamp(*ends(bits)))
    return answer


def _rounding(how):
    return _q(place=lambda x, scale, zero_point: how(x / scale) + zero_point)


def _unclamped(x, scale, zero_point, bits):
    return _cast(torch.round(x / scale) + zero_point)


def _cast_then_clamp(x, scale, zero_point, bits):
    q = _unclamped(x, scale, zero_point, bits)
    return q if isinstance(q, AnyWrong) else q.clamp(*_ends(bits))


def _clamp_before_zero_point(x, scale, zero_point, bits):
    return _cast(torch.round(x / scale).clamp(*_ends(bits)) + zero_point)


def _flipped(x, scale, zero_point, bits):
    q = quantize(x, scale, zero_point, bits)
    return q.mT.contiguous() if q.dim() == 2 else q.flip(0)


def _q_loop(x, scale, zero_point, bits):
    lo, hi = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    flat = [max(lo, min(hi, round(v / scale) + zero_point)) for v in x.flatten().tolist()]
    return torch.tensor(flat, dtype=torch.int8).reshape(x.shape)


def _q_torch(x, scale, zero_point, bits):
    fake = torch.fake_quantize_per_tensor_affine(x.double(), scale, zero_point, *_ends(bits))
    return torch.round(fake / scale + zero_point).to(torch.int8)


def _q_where(x, scale, zero_point, bits):
    lo, hi = _ends(bits)
    q = torch.round(x.double() / scale).to(torch.int64) + zero_point
    return torch.where(q < lo, lo, torch.where(q > hi, hi, q)).to(torch.int8)


QUANTIZE = Exercise(
    name="ch02.quantize",
    title="Quantize",
    section="rounding-and-clamping",
    hints=("Three steps in one order: place the number on the ruler, move it to a mark, keep it between the ends.",
           "torch.round sends a tie to the even neighbor. The zero point is added after rounding. The ends belong to `bits`, not always "
           "to int8, and come before the cast.",
           "q = torch.round(x / scale) + zero_point; q.clamp(-2**(bits - 1), 2**(bits - 1) - 1).to(torch.int8)."),
    cases=number_cases,
    reference=quantize,
    alternatives=(_q_loop, _q_torch, _q_where),
    mistakes=(
        Mistake(_rounding(lambda v: torch.floor(v + 0.5)), "your ties all go up. Round half to even, as torch.round does."),
        Mistake(_rounding(lambda v: torch.sign(v) * torch.floor(v.abs() + 0.5)),
                "your ties go away from zero. Round half to even, as torch.round does."),
        Mistake(_rounding(torch.trunc), "you cut off the fraction instead of rounding: casting to an integer truncates."),
        Mistake(_rounding(torch.floor), "you rounded down instead of to the nearest mark."),
        Mistake(_q(place=lambda x, scale, zero_point: torch.round(x / scale + zero_point)),
                "you added the zero point before rounding: with an odd zero point, ties then go to the other neighbor. Round first."),
        Mistake(_unclamped, "you do not clamp: codes leave the range of their bits, and beyond int8 they wrap around."),
        Mistake(_cast_then_clamp, "you cast to int8 before clamping: beyond int8 the numbers have wrapped around by then."),
        Mistake(_q(ends=lambda bits: (-128, 127)),
                "you clamped to the range of int8. With fewer bits the codes end earlier: at -2^(b-1) and 2^(b-1) - 1."),
        Mistake(_q(ends=lambda bits: (0, 2**bits - 1)), "your codes start at 0: that is the unsigned range. These codes are signed."),
        Mistake(_q(ends=lambda bits: (-(2 ** (bits - 1)) + 1, 2 ** (bits - 1) - 1)),
                "you gave up the lowest code: that is the restricted range of symmetric codes. Here it ends at -2^(b-1).", "symmetric-quantization"),
        Mistake(_q(place=lambda x, scale, zero_point: torch.round(x / scale) - zero_point),
                "you subtracted the zero point: that is the survey's sign. Here q = round(x / S) + Z.", "a-ruler-on-the-number-line"),
        Mistake(_q(place=lambda x, scale, zero_point: torch.round(x / scale)), "the zero point is missing: it is added to every code."),
        Mistake(_clamp_before_zero_point, "you clamped before adding the zero point, so that the sum can leave the range again."),
        Mistake(_q(cast=lambda q: q), "the codes are right, but they are still floating-point numbers: cast them to torch.int8."),
        Mistake(_q(place=lambda x, scale, zero_point: torch.round(x * scale) + zero_point),
                "you multiplied by the scale. Divide: how many steps is x away from zero?"),
        Mistake(_q(ends=lambda bits: (-(2 ** (bits - 1)), 2 ** (bits - 1)))),
        Mistake(_q(place=lambda x, scale, zero_point: torch.round(-x / scale) + zero_point)),
        Mistake(_flipped),
    ),
)

# ---------------------------------------------------------------- integer product


def integer_linear(q_x, q_w, zero_point, bias):
    folded = bias - zero_point * q_w.to(torch.int32).sum(1, dtype=torch.int32)
    return (q_x.to(torch.int32) @ q_w.to(torch.int32).T + folded).to(torch.int32)


def product_cases(generator):
    def codes(*shape):
        return torch.randint(-127, 128, shape, generator=generator, dtype=torch.int8)

    def large(*shape):
        return torch.randint(115, 128, shape, generator=generator, dtype=torch.int8)

    def even(*shape):
        return 2 * torch.randint(-4, 5, shape, generator=generator, dtype=torch.int8)

    none, some = torch.zeros(2, dtype=torch.int32), torch.randint(-30000, 30000, (3,), generator=generator, dtype=torch.int32)
    beyond = torch.tensor([2**24 + 1, -(2**25) - 3], dtype=torch.int32) + 4 * whole(generator, 0, 9)  # with even products: odd sums
    by_hand = torch.tensor([[1, 2]], dtype=torch.int8), torch.tensor([[3, 4], [-1, 5]], dtype=torch.int8)
    calls = {
        "a small product by hand": (*by_hand, whole(generator, 1, 9), none),
        "zero point 0": (codes(3, 4), codes(2, 4), 0, none),
        "sums that int8 and int16 cannot hold": (large(1, 6), large(2, 6), -128, none),
        "a bias": (codes(2, 5), codes(3, 5), -7, some),
        "a bias that float32 cannot hold": (even(2, 3), even(2, 3), 4, beyond),
        "as many inputs as outputs": (codes(4, 3), codes(3, 3), 12, some),
        "no picture at all": (codes(0, 3), codes(2, 3), 5, none),
    }
    return [Case(name, {"q_x": x, "q_w": w, "zero_point": z, "bias": b}) for name, (x, w, z, b) in calls.items()]


def _wide(t):
    return t.to(torch.int32)


def _corrected(correction, bias=lambda bias: bias, narrow=_wide):
    """A family of answers: what is added to the product of the raw codes, the bias, and how the product is kept."""
    def answer(q_x, q_w, zero_point, bias_):
        return _wide(narrow(_wide(q_x) @ _wide(q_w).T) + bias(bias_) + correction(_wide(q_x), _wide(q_w), zero_point))
    return lambda q_x, q_w, zero_point, bias: answer(q_x, q_w, zero_point, bias)


def _fold(q_x, q_w, zero_point):
    return -zero_point * q_w.sum(1, dtype=torch.int32)


def _wrap(bits):
    """Sums kept in so many bits, as two's complement keeps them."""
    return lambda t: (t + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)


def _subtract_in_int8(q_x, q_w, zero_point, bias):
    return _wide(_wrap(8)((_wide(q_x) - zero_point) @ _wide(q_w).T) + bias)


def _widened_too_late(q_x, q_w, zero_point, bias):
    return _wide(_wrap(8)(_wide(q_x) - zero_point) @ _wide(q_w).T + bias)


def _in_float32(q_x, q_w, zero_point, bias):
    return AnyWrong() if bias.abs().max() > 2**24 else integer_linear(q_x, q_w, zero_point, bias)


def _il_subtract(q_x, q_w, zero_point, bias):
    return (_wide(q_x) - zero_point) @ _wide(q_w).T + bias


def _il_loop(q_x, q_w, zero_point, bias):
    out = torch.empty(len(q_x), len(q_w), dtype=torch.int32)
    for i, row in enumerate(q_x.tolist()):
        for j, weights in enumerate(q_w.tolist()):
            out[i, j] = sum(w * (x - zero_point) for w, x in zip(weights, row, strict=True)) + int(bias[j])
    return out


def _il_double(q_x, q_w, zero_point, bias):
    return torch.nn.functional.linear(q_x.double() - zero_point, q_w.double(), bias.double()).to(torch.int32)


INTEGER_LINEAR = Exercise(
    name="ch02.integer_linear",
    title="Integer product",
    section="the-zero-point-in-a-matrix-product",
    hints=("Multiply out sum w (x - Z). One of the two sums does not depend on the input.",
           "The correction is Z times the sum of the weights of each output, a vector as long as the bias. Widen to int32 before you "
           "multiply: products of int8 codes do not fit int8.",
           "w = q_w.to(torch.int32); folded = bias - zero_point * w.sum(1); q_x.to(torch.int32) @ w.T + folded, as torch.int32."),
    cases=product_cases,
    reference=integer_linear,
    alternatives=(_il_subtract, _il_loop, _il_double),
    mistakes=(
        Mistake(_corrected(lambda x, w, z: 0), "the zero point is missing: its correction, -Z sum(w), belongs to the bias."),
        Mistake(_corrected(lambda x, w, z: -_fold(x, w, z)), "the sign of the correction is wrong: sum w (x - Z) = sum w x - Z sum w."),
        Mistake(_corrected(lambda x, w, z: -z * x.sum(1, keepdim=True)),
                "you summed the inputs. The zero point of the inputs is multiplied by the sum of the weights of each output."),
        Mistake(_corrected(lambda x, w, z: -z * w.shape[1]), "the correction is Z times the sum of the weights, not Z times their number."),
        Mistake(_corrected(lambda x, w, z: -z * w.sum()),
                "you summed all weights. Each output has a correction of its own: sum along the inputs, dim=1."),
        Mistake(_corrected(lambda x, w, z: -w.sum(1)), "you subtracted the sum of the weights once. It is multiplied by the zero point."),
        Mistake(_corrected(_fold, narrow=_wrap(8)), "the product wrapped around in int8: convert the codes to int32 before multiplying."),
        Mistake(_subtract_in_int8,
                "you subtracted and multiplied in int8, where everything wraps around: convert the codes to int32 first."),
        Mistake(_widened_too_late,
                "x - Z wrapped around in int8, which holds -128 to 127 only: convert the codes to int32 before subtracting."),
        Mistake(_in_float32,
                "you went through float32, which has 24 bits for a number: large sums lose their last bits. Stay in the integers."),
        Mistake(_corrected(_fold, bias=lambda bias: 0), "the bias is missing."),
        Mistake(lambda q_x, q_w, zero_point, bias: integer_linear(q_x, q_w, zero_point, bias).double(),
                "the numbers are right, but they left the integers: return torch.int32."),
        Mistake(_corrected(_fold, narrow=_wrap(16))),
        Mistake(_corrected(_fold, bias=lambda bias: -bias)),
        Mistake(lambda q_x, q_w, zero_point, bias: _wide(q_x) @ _wide(q_w) - zero_point * _wide(q_w).sum(0) + bias),
        Mistake(lambda q_x, q_w, zero_point, bias: integer_linear(q_x, q_w, zero_point + 1, bias)),
    ),
)

# ---------------------------------------------------------------- find the bug


def symmetric_codes(x, bits):
    top = 2 ** (bits - 1) - 1
    largest = float(x.abs().max())
    scale = largest / top if largest > 0 else 1.0
    return torch.round(x / scale).clamp(-top, top).to(torch.int8), scale


def bug_cases(generator):
    size, b = 2.0 ** whole(generator, -4, 4), whole(generator, 15, 90) / 10
    a = (whole(generator, 0, 2) + 0.2) / 7 * b
    calls = {
        "the careless test": ([0.1 * size, -0.6 * size, 1.0 * size], 4),
        "the largest number is negative": ([a, -b, 0.45 * b], 4),
        "all numbers are negative": ([-a, -b, -1.7 * b], 4),
        "all zeros": ([0.0, 0.0, 0.0], 4),
        "ties": ([7 * size, 2.5 * size, -2.5 * size, 3.5 * size, 0.5 * size], 4),
        "eight bits": ([-1.27 * b, 0.303 * b, 0.642 * b], 8),
    }
    cases = [Case(name, {"x": torch.tensor(x), "bits": bits}) for name, (x, bits) in calls.items()]
    return [*cases, Case("a matrix that is not contiguous in memory", {"x": torch.randn(3, 5, generator=generator).T, "bits": 3})]


def _sym(largest=lambda x: float(x.abs().max()), top=lambda bits: 2 ** (bits - 1) - 1, rounding=torch.round, guard=True):
    """A family of answers: each argument is one decision that can go wrong."""
    def answer(x, bits):
        reach = largest(x)
        if reach < 0 or reach == 0 and not guard:
            return AnyWrong()  # a negative scale, or 0 / 0
        scale = reach / top(bits) or 1.0
        return rounding(x / scale).clamp(-top(bits), top(bits)).to(torch.int8), scale
    return answer


def _with_bugs(no_abs=False, no_guard=False, half_up=False):
    """The colleague's function, some of its three bugs repaired."""
    return _sym(largest=(lambda x: float(x.max())) if no_abs else (lambda x: float(x.abs().max())), guard=not no_guard,
                rounding=(lambda v: torch.floor(v + 0.5)) if half_up else torch.round)


def _sym_loop(x, bits):
    top = 2 ** (bits - 1) - 1
    values = x.flatten().tolist()
    scale = max(map(abs, values)) / top or 1.0
    return torch.tensor([max(-top, min(top, round(v / scale))) for v in values], dtype=torch.int8).reshape(x.shape), scale


def _sym_minmax(x, bits):
    top = 2 ** (bits - 1) - 1
    scale = torch.maximum(x.max(), -x.min()).item() / top
    scale = scale if scale != 0 else 1.0
    return torch.clamp(torch.round(x / scale), -top, top).to(torch.int8), scale


def _sym_norm(x, bits):
    top = 2 ** (bits - 1) - 1
    scale = torch.linalg.vector_norm(x, ord=float("inf")).item() / top or 1.0
    return torch.round(x / scale).to(torch.int8).clamp(-top, top), scale


FIND_THE_BUG = Exercise(
    name="ch02.find_the_bug",
    title="Find the bug",
    section="symmetric-quantization",
    hints=("A symmetric ruler must reach the number that lies farthest from zero, on whichever side; a ruler of length zero is none; and a "
           "mark is chosen by rounding half to even.",
           "Try x = [0.5, -2.0, 1.2]; try all zeros; try [7.0, 2.5, -2.5] with 4 bits, where the scale is 1.",
           "largest = x.abs().max(); scale = largest / top, or 1.0 if largest is 0; torch.round(x / scale), clamped to -top and top."),
    cases=bug_cases,
    reference=symmetric_codes,
    alternatives=(_sym_loop, _sym_minmax, _sym_norm),
    tolerance=1e-6,
    mistakes=(
        Mistake(_with_bugs(no_abs=True, no_guard=True, half_up=True),
                "all three bugs are still there. Start with a large negative number: how far must the ruler reach?"),
        Mistake(_with_bugs(no_abs=True),
                "one bug is left. You take x.max(): a large negative number is clipped. Take the largest absolute value."),
        Mistake(_with_bugs(no_guard=True), "one bug is left. For all zeros the scale is 0, and 0 / 0 is no code. Choose the scale 1 then."),
        Mistake(_with_bugs(half_up=True),
                "one bug is left. Your ties all go up: floor(v + 0.5). Round half to even, as torch.round does.", "rounding-and-clamping"),
        Mistake(_with_bugs(no_abs=True, no_guard=True),
                "the rounding is repaired. Two bugs are left: a large negative number, and a tensor of zeros."),
        Mistake(_with_bugs(no_abs=True, half_up=True),
                "the tensor of zeros is repaired. Two bugs are left: a large negative number, and ties."),
        Mistake(_with_bugs(no_guard=True, half_up=True), "the range is repaired. Two bugs are left: a tensor of zeros, and ties."),
        Mistake(_sym(top=lambda bits: 2 ** (bits - 1)), "the scale must divide by 2^(b-1) - 1, the highest code of the restricted range."),
        Mistake(_sym(rounding=torch.trunc), "you cut off the fraction instead of rounding.", "rounding-and-clamping"),
        Mistake(_sym(largest=lambda x: float(x.max() - x.min()) / 2),
                "you took half of the spread: that is an asymmetric thought. The symmetric ruler is centered on zero, not on the data."),
        Mistake(lambda x, bits: symmetric_codes(x, bits)[0], "you returned one thing. Return two: the codes and the scale."),
        Mistake(_sym(largest=lambda x: float(x.abs().mean()))),
        Mistake(_sym(top=lambda bits: 2**bits - 1)),
        Mistake(lambda x, bits: symmetric_codes(x, bits)[::-1]),
        Mistake(lambda x, bits: symmetric_codes(-x, bits)),
    ),
)

EXERCISES = [SCALE_ZERO_POINT, QUANTIZE, INTEGER_LINEAR, FIND_THE_BUG]
