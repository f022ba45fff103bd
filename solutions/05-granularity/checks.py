"""Checks of chapter 05. For each exercise: cases, the reference, other right answers, and the mistakes that learners make.

How such a file is read is explained at the top of the checks of chapter 02. Scales of cases are powers of two times small numbers, so that
every right order of operations gives the same codes.
"""

import math

import torch

from qtoolkit.check import AnyWrong, Case, Exercise, Mistake


def drawn(generator, *shape):
    """Numbers whose channels (dimension 0) have very different sizes; no tie and no number on the edge of a code is likely."""
    sizes = torch.exp2(torch.randint(-4, 5, (shape[0], *[1] * (len(shape) - 1)), generator=generator).float())
    return sizes * torch.randn(*shape, generator=generator)


def with_dead_channel(generator, *shape):
    weight = drawn(generator, *shape)
    weight[1] = 0
    return weight


def dead_safe(largest, top):
    """Scales from the largest absolute values; 1 where there is nothing but zeros."""
    return torch.where(largest > 0, largest / top, 1.0)


def top_of(bits):
    return 2 ** (bits - 1) - 1


# ---------------------------------------------------------------- channel scales


def channel_scales(weight, bits):
    return dead_safe(weight.flatten(1).abs().amax(1), top_of(bits))


def scale_cases(generator):
    negative = -drawn(generator, 3, 4).abs()
    return [Case(name, {"weight": weight, "bits": bits}) for name, weight, bits in (
        ("a dense layer", drawn(generator, 3, 5), 4), ("a square dense layer", drawn(generator, 4, 4), 8),
        ("a convolution", drawn(generator, 4, 2, 3, 3), 4), ("a depthwise convolution", drawn(generator, 5, 1, 2, 2), 8),
        ("a filter that is all zero", with_dead_channel(generator, 4, 1, 2, 2), 4), ("nothing but zeros", torch.zeros(3, 2), 4),
        ("all weights negative", negative, 3), ("tiny weights that are not zero", 2.0**-30 * drawn(generator, 3, 4), 4))]


def _scales(largest=lambda w: w.flatten(1).abs().amax(1), top=top_of, guard=dead_safe):
    def answer(weight, bits):
        return guard(largest(weight), top(bits))
    return answer


def _unguarded(largest, top):
    return largest / top


def _cs_loop(weight, bits):
    return torch.tensor([max(map(abs, channel.flatten().tolist())) / top_of(bits) or 1.0 for channel in weight])


def _cs_norm(weight, bits):
    scale = torch.linalg.vector_norm(weight.flatten(1), ord=math.inf, dim=1) / top_of(bits)
    return scale + (scale == 0)


def _cs_ends(weight, bits):
    rows = weight.reshape(len(weight), -1)
    scale = torch.maximum(rows.amax(1), -rows.amin(1)) / top_of(bits)
    scale[scale == 0] = 1.0
    return scale


def _last_axis(weight):
    return weight.abs().amax(dim=tuple(range(weight.dim() - 1)))


CHANNEL_SCALES = Exercise(
    name="ch05.channel_scales",
    title="Channel scales",
    section="channels-that-are-all-zero",
    hints=("A scale reaches the largest absolute weight of those that share it. Here everything with the same first index shares one.",
           "Lay the weight out as rows, one a channel, with flatten(1). Take the maximum along dimension 1. What if it is 0?",
           "largest = weight.flatten(1).abs().amax(1); torch.where(largest > 0, largest / (2**(bits - 1) - 1), 1.0)."),
    cases=scale_cases,
    reference=channel_scales,
    alternatives=(_cs_loop, _cs_norm, _cs_ends),
    tolerance=1e-6,
    mistakes=(
        Mistake(_scales(guard=_unguarded), "the scale of a dead channel is 0, and dividing by it gives NaN. Give it the scale 1."),
        Mistake(_scales(guard=lambda largest, top: (largest / top).clamp(min=1e-5)),
                "you lifted all small scales to a floor, also those of channels that are small but not zero. Only an all-zero channel gets 1."),
        Mistake(_scales(largest=lambda w: w.abs().amax().expand(len(w))),
                "every channel got the scale of the whole layer: take the maximum of each channel.", "four-ways-to-share-a-scale"),
        Mistake(_scales(largest=_last_axis), "you kept the last axis. Output channels are the first axis of a weight.", "four-ways-to-share-a-scale"),
        Mistake(_scales(largest=lambda w: w.flatten(1).amax(1).clamp(min=0)), "you forgot the absolute value: large negative weights are clipped."),
        Mistake(_scales(top=lambda bits: 2 ** (bits - 1)), "divide by the highest code, 2^(b-1) - 1."),
        Mistake(_scales(top=lambda bits: (2**bits - 1) / 2), "that is the scale of the full range. These codes are restricted: divide by 2^(b-1) - 1."),
        Mistake(lambda weight, bits: channel_scales(weight, bits)[:, None], "the scales are right, but their shape is (channels, 1): return (channels,)."),
        Mistake(_scales(guard=lambda largest, top: torch.ones_like(largest) if (largest == 0).any() else largest / top),
                "one dead channel made you give up on all of them: only its own scale is 1."),
        Mistake(_scales(largest=lambda w: w.flatten(1).abs().mean(1))),
        Mistake(_scales(top=lambda bits: 2**bits - 1)),
        Mistake(lambda weight, bits: channel_scales(weight, bits) * 2),
        Mistake(lambda weight, bits: channel_scales(weight, bits + 1)),
    ),
)

# ---------------------------------------------------------------- groups with a ragged end


def _fake(run, top):
    """One run for each row, quantized and back."""
    largest = run.abs().amax(1, keepdim=True)
    scale = dead_safe(largest, top)
    return scale * torch.round(run / scale).clamp(-top, top)


def group_quantize(weight, size, bits):
    return torch.cat([_fake(run, top_of(bits)) for run in weight.split(size, dim=1)], dim=1)


def group_cases(generator):
    uneven = drawn(generator, 2, 6) * torch.exp2(torch.arange(6).float() % 4)
    dead = drawn(generator, 2, 6)
    dead[0, :3] = 0
    negative = -drawn(generator, 2, 6).abs()
    return [Case(name, {"weight": weight, "size": size, "bits": bits}) for name, weight, size, bits in (
        ("runs that divide the row", drawn(generator, 2, 8), 4, 4), ("a shorter last run", uneven, 4, 4), ("a last run of one", drawn(generator, 2, 7), 3, 3),
        ("a run of zeros", dead, 3, 4), ("runs longer than the row", drawn(generator, 2, 5), 8, 4), ("all weights negative", negative, 4, 3),
        ("as many outputs as inputs", drawn(generator, 3, 3), 2, 5))]


def _gq_loop(weight, size, bits):
    top, out = top_of(bits), torch.zeros_like(weight)
    for row in range(len(weight)):
        for start in range(0, weight.shape[1], size):
            run = weight[row, start:start + size]
            scale = run.abs().max() / top
            if scale > 0:
                out[row, start:start + size] = torch.round(run / scale) * scale
    return out


def _gq_padded(weight, size, bits):
    missing = -weight.shape[1] % size
    padded = torch.nn.functional.pad(weight, (0, missing))
    back = _fake(padded.reshape(-1, size), top_of(bits)).reshape(len(weight), -1)
    return back[:, :weight.shape[1]]


def _gq_scales(weight, size, bits):
    top, which = top_of(bits), torch.arange(weight.shape[1]) // size
    scale = torch.stack([weight[:, which == g].abs().amax(1) for g in which.unique()], dim=1) / top
    scale = torch.where(scale == 0, torch.ones(()), scale)[:, which]
    return torch.round(weight / scale).clamp(-top, top) * scale


def _dropped(weight, size, bits):
    whole = weight.shape[1] // size * size
    return torch.cat([group_quantize(weight[:, :whole], size, bits) if whole else weight[:, :0], weight[:, whole:]], dim=1)


def _joined(weight, size, bits):
    whole = max(weight.shape[1] // size - 1, 0) * size if weight.shape[1] % size else weight.shape[1]
    parts = [weight[:, start:start + size] for start in range(0, whole, size)] + ([weight[:, whole:]] if whole < weight.shape[1] else [])
    return torch.cat([_fake(run, top_of(bits)) for run in parts], dim=1)


def _across_rows(weight, size, bits):
    flat = weight.flatten()
    return torch.cat([_fake(run[None], top_of(bits))[0] for run in flat.split(size)]).reshape(weight.shape)


def _along_outputs(weight, size, bits):
    return group_quantize(weight.T, size, bits).T


def _one_scale_a_run(weight, size, bits):
    return torch.cat([_fake(run.reshape(1, -1), top_of(bits)).reshape(run.shape) for run in weight.split(size, dim=1)], dim=1)


def _run_count(weight, size, bits):
    return torch.cat([_fake(run, top_of(bits)) for run in weight.chunk(size, dim=1)], dim=1)


def _nan_runs(weight, size, bits):
    out = []
    for run in weight.split(size, dim=1):
        scale = run.abs().amax(1, keepdim=True) / top_of(bits)
        out.append(torch.round(run / scale) * scale)
    return torch.cat(out, dim=1)


def _last_of_padding(weight, size, bits):
    """The row is padded with copies of a far number."""
    missing = -weight.shape[1] % size
    padded = torch.cat([weight, weight[:, :missing]], dim=1) if missing <= weight.shape[1] else weight
    return torch.cat([_fake(run, top_of(bits)) for run in padded.split(size, dim=1)], dim=1)[:, :weight.shape[1]]


def _group_codes(weight, size, bits):
    top = top_of(bits)
    return torch.cat([torch.round(run / dead_safe(run.abs().amax(1, keepdim=True), top)) for run in weight.split(size, dim=1)], dim=1)


def _no_abs(weight, size, bits):
    top, out = top_of(bits), []
    for run in weight.split(size, dim=1):
        scale = dead_safe(run.amax(1, keepdim=True), top)
        out.append(scale * torch.round(run / scale).clamp(-top, top))
    return torch.cat(out, dim=1)


GROUP_QUANTIZE = Exercise(
    name="ch05.group_quantize",
    title="Groups with a ragged end",
    section="four-ways-to-share-a-scale",
    hints=("Every run of a row is a tiny tensor with its own scale. The last one may be shorter, nothing else about it is special.",
           "weight.split(size, dim=1) gives the runs of all rows at once, the last one shorter. Each needs its largest value in each row, with keepdim.",
           "for run in weight.split(size, dim=1): scale = run.abs().amax(1, keepdim=True) / top, 1 where it is 0; collect "
           "scale * torch.round(run / scale); torch.cat(..., dim=1)."),
    cases=group_cases,
    reference=group_quantize,
    alternatives=(_gq_loop, _gq_padded, _gq_scales),
    tolerance=1e-5,
    mistakes=(
        Mistake(_dropped, "you left the ragged end as it was: the last, shorter run is quantized too."),
        Mistake(_joined, "you joined the ragged end to the run before it. It has its own scale."),
        Mistake(_across_rows, "your runs go over the end of a row into the next: a run stays inside its output channel."),
        Mistake(_along_outputs, "your runs lie along the outputs (axis 0). They lie along the inputs (axis 1)."),
        Mistake(_one_scale_a_run, "you took one scale for a run of all rows. Every row has its own: amax(1, keepdim=True)."),
        Mistake(_run_count, "you cut each row into `size` runs. Cut it into runs of `size` weights: split, not chunk."),
        Mistake(_nan_runs, "a run of zeros has the scale 0, and 0 / 0 is NaN. Its scale is 1.", "channels-that-are-all-zero"),
        Mistake(_last_of_padding, "you filled the last run with numbers from elsewhere in the row, and they changed its scale. Fill with zeros, or let it be shorter."),
        Mistake(_group_codes, "these are the codes. Multiply each by the scale of its run."),
        Mistake(_no_abs, "you took the largest weight of a run, not the largest absolute one."),
        Mistake(lambda weight, size, bits: group_quantize(weight, weight.shape[1], bits), "one scale for each row: that is channelwise, not in runs."),
        Mistake(lambda weight, size, bits: group_quantize(weight, size, bits + 1)),
        Mistake(lambda weight, size, bits: group_quantize(weight, size + 1, bits)),
        Mistake(lambda weight, size, bits: -group_quantize(weight, size, bits)),
    ),
)

# ---------------------------------------------------------------- bits per weight


def bits_per_weight(outputs, inputs, size, bits, scale_bits, symmetric):
    runs = outputs * -(-inputs // size)
    return bits + runs * (scale_bits + (0 if symmetric else bits)) / (outputs * inputs)


def bill_cases(generator):
    def whole(low, high):
        return int(torch.randint(low, high + 1, (1,), generator=generator))

    out = whole(3, 9)
    calls = {
        "runs that divide, float32 scales": (out, 64, 32, 4, 32, True),
        "float16 scales": (out, 128, 64, 4, 16, True),
        "with zero points": (out, 64, 16, 3, 16, False),
        "a shorter last run": (out, 10 + whole(1, 5), 8, 4, 32, True),
        "runs longer than the row": (out, 8, 32, 8, 32, True),
        "one scale a channel, asymmetric": (out, 25, 25, 8, 32, False),
        "8-bit scales": (out, 48, 16, 2, 8, True),
    }
    names = ("outputs", "inputs", "size", "bits", "scale_bits", "symmetric")
    return [Case(name, dict(zip(names, values, strict=True))) for name, values in calls.items()]


def _bill(runs=lambda o, i, s: o * -(-i // s), zero=lambda bits: bits, scale=lambda scale_bits: scale_bits, per=lambda o, i: o * i, codes=True):
    def answer(outputs, inputs, size, bits, scale_bits, symmetric):
        overhead = runs(outputs, inputs, size) * (scale(scale_bits) + (0 if symmetric else zero(bits)))
        return (bits if codes else 0) + overhead / per(outputs, inputs)
    return answer


def _bw_list(outputs, inputs, size, bits, scale_bits, symmetric):
    total = 0
    for _ in range(outputs):
        for start in range(0, inputs, size):
            total += bits * (min(start + size, inputs) - start) + scale_bits + (not symmetric) * bits
    return total / (outputs * inputs)


def _bw_one_row(outputs, inputs, size, bits, scale_bits, symmetric):
    return (inputs * bits + math.ceil(inputs / size) * (scale_bits if symmetric else scale_bits + bits)) / inputs


def _bw_tensor(outputs, inputs, size, bits, scale_bits, symmetric):
    runs = len(torch.arange(inputs).split(size)) * outputs
    return float(bits + runs * scale_bits / (outputs * inputs) + (0 if symmetric else runs * bits / (outputs * inputs)))


def _all_or_nothing(outputs, inputs, size, bits, scale_bits, symmetric):
    right = bits_per_weight(outputs, inputs, size, bits, scale_bits, symmetric)
    return right if symmetric else right - bits * -(-inputs // size) / inputs


BITS_PER_WEIGHT = Exercise(
    name="ch05.bits_per_weight",
    title="Bits per weight",
    section="what-a-scale-costs",
    hints=("Write the whole bill: codes, scales, zero points. Divide by the number of weights at the end.",
           "How many runs has a row of 10 weights in runs of 8? A run that is not full still stores a whole scale.",
           "runs = outputs * ceil(inputs / size); bits + runs * (scale_bits + (0 if symmetric else bits)) / (outputs * inputs)."),
    cases=bill_cases,
    reference=bits_per_weight,
    alternatives=(_bw_list, _bw_one_row, _bw_tensor),
    tolerance=1e-6,
    mistakes=(
        Mistake(_bill(runs=lambda o, i, s: o * (i // s)), "a shorter last run stores a whole scale too: round the number of runs up."),
        Mistake(_bill(runs=lambda o, i, s: o * i / s), "you divided without rounding: a row has a whole number of runs. Round up."),
        Mistake(_bill(scale=lambda scale_bits: 32), "you counted 32 bits for every scale. Here a scale has `scale_bits` bits."),
        Mistake(_all_or_nothing, "the zero points are missing: asymmetric codes store one for each run, as wide as a code."),
        Mistake(_bill(zero=lambda bits: 32), "a zero point is a code: it has `bits` bits, not 32."),
        Mistake(_bill(codes=False), "that is the overhead alone. Add the codes."),
        Mistake(_bill(runs=lambda o, i, s: -(-i // s)), "you counted the scales of one output and the weights of all."),
        Mistake(_bill(runs=lambda o, i, s: o), "one scale for each output: that is channelwise. Here each run has its own."),
        Mistake(_bill(runs=lambda o, i, s: s * o), "you took `size` for the number of runs. It is the number of weights in a run."),
        Mistake(_bill(per=lambda o, i: i), "divide by all weights, outputs times inputs."),
        Mistake(lambda outputs, inputs, size, bits, scale_bits, symmetric:
                outputs * inputs * bits_per_weight(outputs, inputs, size, bits, scale_bits, symmetric), "that is the total. Divide by the number of weights."),
        Mistake(_bill(scale=lambda scale_bits: scale_bits / 8)),
        Mistake(_bill(per=lambda o, i: o * i * 2)),
        Mistake(lambda *call, **named: bits_per_weight(*call, **named) + 1),
    ),
)

# ---------------------------------------------------------------- find the bug


def channel_quantize(weight, bits):
    return _fake(weight.flatten(1), top_of(bits)).reshape(weight.shape)


def bug_cases(generator):
    return [Case(name, {"weight": weight, "bits": bits}) for name, weight, bits in (
        ("the careless test: a square matrix", torch.tensor([[1.0, 2.0], [30.0, 60.0]]), 3), ("more inputs than outputs", drawn(generator, 2, 4), 4),
        ("more outputs than inputs", drawn(generator, 5, 2), 4), ("a square matrix of unequal rows", drawn(generator, 3, 3), 5),
        ("a channel of zeros", with_dead_channel(generator, 3, 3), 4), ("a convolution", drawn(generator, 3, 2, 2, 3), 4),
        ("a filter of zeros", with_dead_channel(generator, 3, 1, 2, 3), 8))]


def _channelwise(axis_shape, guard=True, largest=lambda w: w.abs().flatten(1).amax(1)):
    """A family of answers: the shape in which the scales meet the weight, and what happens to dead channels."""
    def answer(weight, bits):
        top = top_of(bits)
        scale = largest(weight) / top
        if guard:
            scale = torch.where(scale > 0, scale, 1.0)
        try:
            scale = axis_shape(scale, weight)
            return (scale * torch.round(weight / scale).clamp(-top, top)).expand(weight.shape)
        except RuntimeError:
            return AnyWrong()  # shapes that do not broadcast: an error
    return answer


def _upright(scale, weight):
    return scale.reshape(-1, *[1] * (weight.dim() - 1))


def _cq_loop(weight, bits):
    top, out = top_of(bits), torch.zeros_like(weight)
    for index, channel in enumerate(weight):
        if channel.abs().max() > 0:
            scale = channel.abs().max() / top
            out[index] = scale * torch.round(channel / scale)
    return out


def _cq_transposed(weight, bits):
    columns = weight.flatten(1).T
    scale = dead_safe(columns.abs().amax(0), top_of(bits))
    return (scale * torch.round(columns / scale)).T.reshape(weight.shape)


def _guarded_only(weight, bits):
    return _channelwise(lambda scale, w: scale)(weight, bits)


def _matrices_only(weight, bits):
    return channel_quantize(weight, bits) if weight.dim() == 2 else AnyWrong()


FIND_THE_BUG = Exercise(
    name="ch05.find_the_bug",
    title="Find the bug",
    section="which-scales-a-kernel-can-use",
    hints=("Broadcasting lines shapes up from the right. With which index of the weight does a vector of scales meet?",
           "Try a weight that is not square. Then try one with a row of zeros, and one with four dimensions.",
           "Lay the weight out as rows (flatten(1)), keep the dimension in amax(1, keepdim=True), use 1 where it is 0, and reshape at the end."),
    cases=bug_cases,
    reference=channel_quantize,
    alternatives=(_channelwise(_upright), _cq_loop, _cq_transposed),
    tolerance=1e-5,
    mistakes=(
        Mistake(_channelwise(lambda scale, w: scale, guard=False),
                "both bugs are still there: the scales meet the last axis, and a channel of zeros gives NaN. Start with a weight that is not square."),
        Mistake(_guarded_only, "one bug is left: a vector of scales meets the last axis of the weight. Give it the shape (channels, 1, ...)."),
        Mistake(_channelwise(_upright, guard=False), "one bug is left: the scale of a channel of zeros is 0, and 0 / 0 is NaN.", "channels-that-are-all-zero"),
        Mistake(lambda weight, bits: channel_quantize(weight, bits).flatten(1) if weight.dim() > 2 else channel_quantize(weight, bits),
                "the numbers are right, but a convolution came back as a matrix: reshape to weight.shape."),
        Mistake(_matrices_only, "that works for matrices. The weight of a convolution has four dimensions: the scale has to be (channels, 1, 1, 1)."),
        Mistake(_channelwise(lambda scale, w: scale, largest=lambda w: w.abs().reshape(-1, w.shape[-1]).amax(0)),
                "now the scales fit the last axis, but that is the input. One scale belongs to each output, axis 0.", "four-ways-to-share-a-scale"),
        Mistake(_channelwise(lambda scale, w: scale.max()), "one scale for the whole layer: that is no longer channelwise.", "four-ways-to-share-a-scale"),
        Mistake(_channelwise(_upright, largest=lambda w: w.abs().flatten(2).amax(2).amax(1) if w.dim() > 2 else w.amax(1).clamp(min=0)),
                "in a matrix you forgot the absolute value."),
        Mistake(lambda weight, bits: torch.round(weight.flatten(1) / dead_safe(weight.flatten(1).abs().amax(1, keepdim=True), top_of(bits))).reshape(weight.shape),
                "these are the codes. Multiply each by the scale of its channel."),
        Mistake(lambda weight, bits: channel_quantize(weight, bits + 1)),
        Mistake(lambda weight, bits: -channel_quantize(weight, bits)),
        Mistake(lambda weight, bits: weight),
    ),
)

EXERCISES = [CHANNEL_SCALES, GROUP_QUANTIZE, BITS_PER_WEIGHT, FIND_THE_BUG]
