"""Checks of chapter 02. For each exercise: cases, the reference, other right answers, and the mistakes that learners make."""

import torch

from qtoolkit.check import Case, Exercise, Mistake

# ---------------------------------------------------------------- scale and zero point


def scale_zero_point(lo, hi, bits):
    lo, hi = min(lo, 0.0), max(hi, 0.0)
    scale = (hi - lo) / (2**bits - 1) or 1.0
    return scale, round(-lo / scale)


def range_cases(generator):
    a, b = (3 * torch.rand(2, generator=generator)).tolist()
    ranges = {"a range on both sides of zero": (-1.0, 3.0, 4), "zero exactly between two marks": (-1.0, 2.0, 1), "all numbers positive": (0.5, 2.5, 8),
              "all numbers negative": (-4.0, -1.0, 3), "an empty range": (0.0, 0.0, 8), "a zero point that is rounded up": (-1.0, 1.7, 2), "an odd bit width": (-a - 0.2, b + 0.3, 5)}
    return [Case(name, {"lo": lo, "hi": hi, "bits": bits}) for name, (lo, hi, bits) in ranges.items()]


def _sz(widen=True, steps=lambda b: 2**b - 1, zero=lambda lo, s: round(-lo / s), empty=1.0):
    """A family of answers: each argument is one decision that can go wrong."""
    def answer(lo, hi, bits):
        if widen:
            lo, hi = min(lo, 0.0), max(hi, 0.0)
        scale = (hi - lo) / steps(bits)
        scale = scale if scale else empty
        return scale, zero(lo, scale)
    return answer


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


def _sz_from_top(lo, hi, bits):
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
           "Three steps: widen the range until it contains 0; divide its length by the number of gaps; find the code at which 0 lies, as an integer. What if the length is 0?",
           "lo, hi = min(lo, 0.0), max(hi, 0.0); scale = (hi - lo) / (2**bits - 1), or 1.0 if that is 0; zero_point = round(-lo / scale)."),
    cases=range_cases,
    reference=scale_zero_point,
    alternatives=(_sz_tensor, _sz_branches, _sz_from_top),
    tolerance=1e-7,
    mistakes=(
        Mistake(_sz(steps=lambda b: 2**b), "you divided by 2^b, the number of marks. There is one gap fewer: 2^b - 1."),
        Mistake(_sz(widen=False), "your range does not always contain 0. If all numbers are positive, start at 0; if all are negative, end at 0."),
        Mistake(_sz(zero=lambda lo, s: -lo / s), "the zero point must be an integer code: round it, so that the real number 0 lies exactly on a mark."),
        Mistake(_sz(zero=lambda lo, s: round(lo / s)), "the sign of your zero point is the survey's. Here x = S (q - Z): the code of the lowest number is 0, so Z = -lo / S."),
        Mistake(_sz(zero=lambda lo, s: int(-lo / s)), "int() cuts off the fraction. Round to the nearest code instead."),
        Mistake(lambda lo, hi, bits: ((max(abs(lo), abs(hi)) / (2 ** (bits - 1) - 1) if bits > 1 and (lo or hi) else 1.0), 0),
                "this is the symmetric scale. The asymmetric ruler reaches from lo to hi and slides its zero point.", "symmetric-quantization"),
        Mistake(_sz(zero=lambda lo, s: 0), "the zero point is not always 0: it is the code at which the real number 0 lies."),
        Mistake(_sz(steps=lambda b: 2 ** (b - 1) - 1 or 1)), Mistake(_sz(steps=lambda b: b)), Mistake(_sz(zero=lambda lo, s: round(-lo / s) + 1)),
        Mistake(lambda lo, hi, bits: scale_zero_point(lo, hi, bits)[::-1]),
    ),
)

# ---------------------------------------------------------------- quantize


def quantize(x, scale, zero_point, bits):
    q = torch.round(x / scale) + zero_point
    return q.clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1).to(torch.int8)


def number_cases(generator):
    some = torch.randn(2, 4, generator=generator)
    values = {
        "ordinary numbers": ([0.0, 0.3, -0.3, 0.9], 0.25, 0, 8), "ties go to the even neighbor": ([0.5, 1.5, 2.5, -0.5, -1.5, 3.5], 1.0, 0, 8),
        "saturates at both ends": ([-100.0, 100.0, 3.2, -3.2], 0.5, 0, 8), "a zero point": ([-1.0, 0.0, 1.0, 60.0], 0.5, 10, 8),
        "fewer bits end earlier": ([-9.0, 9.0, 0.4, -0.6], 1.0, 1, 4), "an odd bit width": ([-9.0, 9.0, 1.6, -1.6], 1.0, -1, 3),
    }
    cases = [Case(name, {"x": torch.tensor(x), "scale": s, "zero_point": z, "bits": b}) for name, (x, s, z, b) in values.items()]
    return cases + [Case("a matrix that is not contiguous in memory", {"x": some.T, "scale": 0.125, "zero_point": 3, "bits": 8})]


def _q(rounding=torch.round, ends=lambda b: (-(2 ** (b - 1)), 2 ** (b - 1) - 1), dtype=torch.int8, clamp_first=False, zero=lambda q, z: q + z):
    """A family of answers: each argument is one decision that can go wrong."""
    def answer(x, scale, zero_point, bits):
        lo, hi = ends(bits)
        if clamp_first:
            return zero(rounding(x / scale).clamp(lo, hi), zero_point).clamp(-128, 127).to(dtype)
        return zero(rounding(x / scale), zero_point).clamp(lo, hi).to(dtype)
    return answer


def _wrapping(x, scale, zero_point, bits):
    q = (torch.round(x / scale) + zero_point).to(torch.int32)
    return ((q + 128) % 256 - 128).clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1).to(torch.int8)  # what an int8 cast keeps


def _q_loop(x, scale, zero_point, bits):
    lo, hi = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    flat = [max(lo, min(hi, round(v / scale) + zero_point)) for v in x.flatten().tolist()]
    return torch.tensor(flat, dtype=torch.int8).reshape(x.shape)


def _q_torch(x, scale, zero_point, bits):
    lo, hi = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    fake = torch.fake_quantize_per_tensor_affine(x.double(), scale, zero_point, lo, hi)
    return torch.round(fake / scale + zero_point).to(torch.int8)


def _q_where(x, scale, zero_point, bits):
    lo, hi = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    q = torch.round(x.double() / scale + zero_point * 0.0) + zero_point
    return torch.where(q < lo, lo, torch.where(q > hi, hi, q)).to(torch.int8)


QUANTIZE = Exercise(
    name="ch02.quantize",
    title="Quantize",
    section="rounding-and-clamping",
    hints=("Three steps in one order: place the number on the ruler, move it to a mark, keep it between the ends.",
           "torch.round sends a tie to the even neighbor. The zero point is added after rounding. The ends belong to `bits`, not always to int8, and come before the cast.",
           "q = torch.round(x / scale) + zero_point; q.clamp(-2**(bits - 1), 2**(bits - 1) - 1).to(torch.int8)."),
    cases=number_cases,
    reference=quantize,
    alternatives=(_q_loop, _q_torch, _q_where),
    mistakes=(
        Mistake(_q(rounding=lambda v: torch.floor(v + 0.5)), "your ties all go up. Round half to even, as torch.round does."),
        Mistake(_q(rounding=lambda v: torch.sign(v) * torch.floor(v.abs() + 0.5)), "your ties go away from zero. Round half to even, as torch.round does."),
        Mistake(_q(rounding=torch.trunc), "you cut off the fraction instead of rounding: casting to an integer truncates."),
        Mistake(_q(rounding=torch.floor), "you rounded down instead of to the nearest mark."),
        Mistake(_wrapping, "values beyond the range wrapped around: clamp before casting to int8."),
        Mistake(_q(ends=lambda b: (-128, 127)), "you clamped to the range of int8. With fewer bits the codes end earlier: at -2^(b-1) and 2^(b-1) - 1."),
        Mistake(_q(ends=lambda b: (0, 2**b - 1 if b < 8 else 127)), "your codes start at 0: that is the unsigned range. These codes are signed."),
        Mistake(_q(zero=lambda q, z: q - z), "you subtracted the zero point: that is the survey's sign. Here q = round(x / S) + Z.", "a-ruler-on-the-number-line"),
        Mistake(_q(clamp_first=True), "you clamped before adding the zero point, so that the sum can leave the range again."),
        Mistake(_q(dtype=torch.float32), "the codes are right, but they are still floating-point numbers: cast them to torch.int8."),
        Mistake(lambda x, scale, zero_point, bits: quantize(x * scale * scale, scale, zero_point, bits), "you multiplied by the scale. Divide: how many steps is x away from zero?"),
        Mistake(_q(ends=lambda b: (-(2 ** (b - 1)) + 1, 2 ** (b - 1) - 1))), Mistake(_q(ends=lambda b: (-(2 ** (b - 1)), 2 ** (b - 1)))),
        Mistake(_q(zero=lambda q, z: q)), Mistake(lambda x, scale, zero_point, bits: quantize(x, scale, zero_point, bits).mT.contiguous() if x.dim() == 2 else quantize(x.flip(0), scale, zero_point, bits)),
    ),
)

# ---------------------------------------------------------------- integer product


def integer_linear(q_x, q_w, zero_point, bias):
    folded = bias - zero_point * q_w.to(torch.int32).sum(1, dtype=torch.int32)
    return (q_x.to(torch.int32) @ q_w.to(torch.int32).T + folded).to(torch.int32)


def product_cases(generator):
    def codes(*shape):
        return torch.randint(-127, 128, shape, generator=generator, dtype=torch.int8)

    none = torch.zeros(2, dtype=torch.int32)
    return [
        Case("a small product by hand", {"q_x": torch.tensor([[1, 2]], dtype=torch.int8), "q_w": torch.tensor([[3, 4], [-1, 5]], dtype=torch.int8), "zero_point": 1, "bias": none}),
        Case("zero point 0", {"q_x": codes(3, 4), "q_w": codes(2, 4), "zero_point": 0, "bias": none}),
        Case("sums that int8 and int16 cannot hold", {"q_x": torch.full((1, 6), 127, dtype=torch.int8), "q_w": torch.full((2, 6), 127, dtype=torch.int8), "zero_point": -128, "bias": none}),
        Case("a bias", {"q_x": codes(2, 5), "q_w": codes(3, 5), "zero_point": -7, "bias": torch.tensor([100, -2000, 30000], dtype=torch.int32)}),
        Case("as many inputs as outputs", {"q_x": codes(4, 3), "q_w": codes(3, 3), "zero_point": 12, "bias": torch.tensor([1, 2, 3], dtype=torch.int32)}),
        Case("no picture at all", {"q_x": codes(0, 3), "q_w": codes(2, 3), "zero_point": 5, "bias": none}),
    ]


def _wide(t):
    return t.to(torch.int32)


def _il_subtract(q_x, q_w, zero_point, bias):
    return ((_wide(q_x) - zero_point) @ _wide(q_w).T + bias).to(torch.int32)


def _il_loop(q_x, q_w, zero_point, bias):
    out = torch.empty(len(q_x), len(q_w), dtype=torch.int32)
    for i, row in enumerate(q_x.tolist()):
        for j, weights in enumerate(q_w.tolist()):
            out[i, j] = sum(w * (x - zero_point) for w, x in zip(weights, row, strict=True)) + int(bias[j])
    return out


def _il_double(q_x, q_w, zero_point, bias):
    return torch.nn.functional.linear(q_x.double() - zero_point, q_w.double(), bias.double()).to(torch.int32)


def _wrap8(t):
    return ((t + 128) % 256 - 128).to(torch.int32)


def _wrap16(t):
    return ((t + 2**15) % 2**16 - 2**15).to(torch.int32)


INTEGER_LINEAR = Exercise(
    name="ch02.integer_linear",
    title="Integer product",
    section="the-zero-point-in-a-matrix-product",
    hints=("Multiply out sum w (x - Z). One of the two sums does not depend on the input.",
           "The correction is Z times the sum of the weights of each output, a vector as long as the bias. Widen to int32 before you multiply: products of int8 codes do not fit int8.",
           "w = q_w.to(torch.int32); folded = bias - zero_point * w.sum(1); q_x.to(torch.int32) @ w.T + folded, as torch.int32."),
    cases=product_cases,
    reference=integer_linear,
    alternatives=(_il_subtract, _il_loop, _il_double),
    mistakes=(
        Mistake(lambda q_x, q_w, zero_point, bias: _wide(q_x) @ _wide(q_w).T + bias, "the zero point is missing: its correction, -Z sum(w), belongs to the bias."),
        Mistake(lambda q_x, q_w, zero_point, bias: (_wide(q_x) @ _wide(q_w).T + bias + zero_point * _wide(q_w).sum(1)).to(torch.int32), "the sign of the correction is wrong: sum w (x - Z) = sum w x - Z sum w."),
        Mistake(lambda q_x, q_w, zero_point, bias: (_wide(q_x) @ _wide(q_w).T + bias - zero_point * _wide(q_x).sum(1, keepdim=True)).to(torch.int32),
                "you summed the inputs. The zero point of the inputs is multiplied by the sum of the weights of each output."),
        Mistake(lambda q_x, q_w, zero_point, bias: (_wide(q_x) @ _wide(q_w).T + bias - zero_point * q_w.shape[1]).to(torch.int32), "the correction is Z times the sum of the weights, not Z times their number."),
        Mistake(lambda q_x, q_w, zero_point, bias: _wrap8(_wide(q_x) @ _wide(q_w).T) + bias - _wrap8(zero_point * _wide(q_w).sum(1)), "the sums wrapped around in int8: convert the codes to int32 before multiplying."),
        Mistake(lambda q_x, q_w, zero_point, bias: (_wide(q_x) @ _wide(q_w).T - zero_point * _wide(q_w).sum(1)).to(torch.int32), "the bias is missing."),
        Mistake(lambda q_x, q_w, zero_point, bias: integer_linear(q_x, q_w, zero_point, bias).float(), "the numbers are right, but they left the integers: return torch.int32."),
        Mistake(lambda q_x, q_w, zero_point, bias: _wrap16(_wide(q_x) @ _wide(q_w).T) + bias - zero_point * _wide(q_w).sum(1, dtype=torch.int32)),
        Mistake(lambda q_x, q_w, zero_point, bias: (_wide(q_x) @ _wide(q_w) - zero_point * _wide(q_w).sum(0)).to(torch.int32) + bias),
        Mistake(lambda q_x, q_w, zero_point, bias: _il_subtract(q_x, q_w, zero_point, -bias)), Mistake(lambda q_x, q_w, zero_point, bias: integer_linear(q_x, q_w, zero_point + 1, bias)),
    ),
)

# ---------------------------------------------------------------- find the bug


def symmetric_codes(x, bits):
    top = 2 ** (bits - 1) - 1
    largest = float(x.abs().max())
    scale = largest / top if largest > 0 else 1.0
    return torch.round(x / scale).clamp(-top, top).to(torch.int8), scale


def bug_cases(generator):
    some = torch.randn(3, 5, generator=generator)
    values = {"the careless test": [0.1, -0.6, 1.0], "the largest number is negative": [0.5, -2.0, 1.2], "all numbers are negative": [-1.0, -2.0, -3.5], "all zeros": [0.0, 0.0, 0.0], "ties": [7.0, 2.5, -2.5, 3.5, 0.5]}
    cases = [Case(name, {"x": torch.tensor(x), "bits": 4}) for name, x in values.items()]
    return [*cases, Case("eight bits", {"x": torch.tensor([-1.27, 0.3, 0.64]), "bits": 8}), Case("a matrix that is not contiguous in memory", {"x": some.T, "bits": 3})]


def _sym(largest=lambda x: float(x.abs().max()), guard=True, top=lambda b: 2 ** (b - 1) - 1, bottom=lambda t: -t, rounding=torch.round):
    """A family of answers: each argument is one decision that can go wrong."""
    def answer(x, bits):
        t = top(bits)
        scale = largest(x) / t
        if guard and not scale > 0:
            scale = 1.0
        return rounding(x / scale).clamp(bottom(t), t).to(torch.int8), scale
    return answer


def _not_guarded(x, bits):
    if not x.abs().max() > 0:
        raise ZeroDivisionError
    return symmetric_codes(x, bits)


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
    hints=("A symmetric ruler must reach the number that lies farthest from zero, on whichever side, and a ruler of length zero is none.",
           "There are three bugs. Try x = [0.5, -2.0, 1.2]; try all zeros; try -3.5 with the codes of a restricted range in mind.",
           "largest = x.abs().max(); scale = largest / top, or 1.0 if largest is 0; clamp to -top and top; round half to even."),
    cases=bug_cases,
    reference=symmetric_codes,
    alternatives=(_sym_loop, _sym_minmax, _sym_norm),
    tolerance=1e-6,
    mistakes=(
        Mistake(_sym(largest=lambda x: float(x.max())), "you still take x.max(): a large negative number is then clipped. Take the largest absolute value."),
        Mistake(_not_guarded, "all zeros still fail: a scale of 0 gives 0 / 0. Choose 1.0 then; every code is 0 anyway."),
        Mistake(_sym(bottom=lambda t: -t - 1, largest=lambda x: float(x.max()) if x.max() > 0 else float(x.abs().max())), "you still use x.max() where it is positive, and the extra code -2^(b-1). A restricted range is +-(2^(b-1) - 1)."),
        Mistake(_sym(top=lambda b: 2 ** (b - 1)), "the scale must divide by 2^(b-1) - 1, the highest code of the restricted range."),
        Mistake(_sym(rounding=lambda v: torch.floor(v + 0.5)), "your ties all go up. Round half to even, as torch.round does.", "rounding-and-clamping"),
        Mistake(_sym(rounding=torch.trunc), "you cut off the fraction instead of rounding.", "rounding-and-clamping"),
        Mistake(_sym(largest=lambda x: float(x.max() - x.min()) / 2), "you took half of the spread: that is an asymmetric thought. The symmetric ruler is centered on zero, not on the data."),
        Mistake(_sym(largest=lambda x: float(x.abs().mean()))), Mistake(_sym(top=lambda b: 2**b - 1)), Mistake(lambda x, bits: symmetric_codes(x, bits)[::-1]), Mistake(lambda x, bits: symmetric_codes(-x, bits)),
    ),
)

EXERCISES = [SCALE_ZERO_POINT, QUANTIZE, INTEGER_LINEAR, FIND_THE_BUG]
