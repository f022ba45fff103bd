"""Checks of chapter 12: one vpdpbusd, the offset taken out, the packed layout, what bounds a layer, pruning by tiles."""

import torch
import torch.nn.functional as F

from qtoolkit.check import Case, Exercise, Mistake


def _bytes(generator, size, low, high, dtype):
    return torch.randint(low, high + 1, (size,) if isinstance(size, int) else size, generator=generator, dtype=dtype)


# ---------------------------------------------------------------- one vpdpbusd


def dot_four(sums, u, s):
    return sums + (u.int() * s.int()).reshape(-1, 4).sum(1, dtype=torch.int32)


def dot_cases(generator):
    def drawn(lanes, start=1000):
        return {"sums": _bytes(generator, lanes, -start, start, torch.int32), "u": _bytes(generator, 4 * lanes, 0, 255, torch.uint8),
                "s": _bytes(generator, 4 * lanes, -128, 127, torch.int8)}

    small = _bytes(generator, 4, 1, 9, torch.uint8)
    calls = {
        "one lane, small numbers": {"sums": torch.tensor([0], dtype=torch.int32), "u": small, "s": torch.tensor([1, 2, -1, 3], dtype=torch.int8)},
        "a sum that has begun": {"sums": torch.tensor([100], dtype=torch.int32), "u": small.flip(0), "s": torch.tensor([3, 1, 1, -2], dtype=torch.int8)},
        "inputs above 127": {"sums": torch.zeros(2, dtype=torch.int32), "u": _bytes(generator, 8, 128, 255, torch.uint8),
                             "s": _bytes(generator, 8, -9, 9, torch.int8)},
        "the largest bytes": {"sums": torch.tensor([5, -5], dtype=torch.int32), "u": torch.full((8,), 255, dtype=torch.uint8),
                              "s": torch.tensor([127] * 4 + [-128] * 4, dtype=torch.int8)},
        "four lanes": drawn(4),
        "a whole register": drawn(16),
    }
    return [Case(name, arguments) for name, arguments in calls.items()]


def _df_einsum(sums, u, s):
    return sums + torch.einsum("jf,jf->j", u.view(-1, 4).long(), s.view(-1, 4).long()).int()


def _df_loop(sums, u, s):
    out = sums.clone()
    for i, (a, b) in enumerate(zip(u.tolist(), s.tolist())):
        out[i // 4] += a * b
    return out


def _df_strides(sums, u, s):
    product = u.to(torch.int32) * s.to(torch.int32)
    return sums + product[0::4] + product[1::4] + product[2::4] + product[3::4]


def _df(left=lambda u: u.int(), right=lambda s: s.int(), add=lambda p: p.reshape(-1, 4).sum(1), into=lambda sums, four: sums + four):
    """A family of answers: each argument is one decision that can go wrong."""
    return lambda sums, u, s: into(sums, add(left(u) * right(s)).to(torch.int32))


def _saturated_pairs(p):
    return p.reshape(-1, 2).sum(1).clamp(-(2**15), 2**15 - 1).reshape(-1, 2).sum(1)


DOT_FOUR = Exercise(
    name="ch12.dot_four",
    title="One vpdpbusd",
    section="one-instruction-sixty-four-multiplications",
    hints=("Each lane owns four neighboring bytes of u and the four of s at the same places. What happens to the sum that is there already?",
           "Make both int32, multiply place by place, reshape to (lanes, 4), add along the last axis, add the sums.",
           "sums + (u.int() * s.int()).reshape(-1, 4).sum(1, dtype=torch.int32): without the dtype, torch sums in int64."),
    cases=dot_cases,
    reference=dot_four,
    alternatives=(_df_einsum, _df_loop, _df_strides),
    mistakes=(
        Mistake(_df(left=lambda u: u.view(torch.int8).int(), right=lambda s: s.view(torch.uint8).int()),
                "you took u as signed and s as unsigned. It is the other way round: u is 0 to 255, s is -128 to 127."),
        Mistake(_df(left=lambda u: u.view(torch.int8).int()), "you read u as signed, so that bytes above 127 became negative. u is unsigned."),
        Mistake(_df(right=lambda s: s.view(torch.uint8).int()), "you read s as unsigned, so that negative weights became large. s is signed."),
        Mistake(_df(add=_saturated_pairs), "you cut off pairs at 16 bits. That is vpmaddubsw; vpdpbusd adds all four products at full width.",
                "the-pair-that-saturates"),
        Mistake(_df(into=lambda sums, four: four), "you return the four products without the sum that was there: the instruction accumulates."),
        Mistake(_df(add=lambda p: p.reshape(4, -1).sum(0)), "you grouped bytes that are a register's quarter apart. A lane's four bytes are neighbors."),
        Mistake(_df(left=lambda u: u.view(torch.int8), right=lambda s: s),
                "you multiplied in 8 bits, and the products wrapped around. Widen both operands before multiplying."),
        Mistake(_df(add=lambda p: p.reshape(-1, 4).sum(1).clamp(-(2**15), 2**15 - 1)),
                "you cut off the sum of the four at 16 bits. It is added to the 32-bit sum as it is."),
        Mistake(_df(add=lambda p: p.sum().expand(len(p) // 4)), "you added all products into every lane. Each lane has its own four."),
        Mistake(_df(into=lambda sums, four: sums - four)),
        Mistake(_df(add=lambda p: p.reshape(-1, 4)[:, :3].sum(1))),
        Mistake(_df(into=lambda sums, four: sums + four + 1)),
    ),
)

# ---------------------------------------------------------------- the offset taken out


def take_out(sums, weight, zero_point):
    return sums - (128 + zero_point) * weight.int().sum(1)


def correction_cases(generator):
    def call(m, n, k, zero_point, low=-127, high=127):
        x, weight = _bytes(generator, (m, k), -128, 127, torch.int8), _bytes(generator, (n, k), low, high, torch.int8)
        return {"sums": (x.long() + 128) @ weight.long().T, "weight": weight, "zero_point": zero_point}

    drawn = int(torch.randint(5, 60, (1,), generator=generator))
    calls = {
        "one output, zero point 0": call(1, 1, 4, 0, 1, 9),
        "a positive zero point": call(2, 3, 4, drawn),
        "a negative zero point": call(2, 3, 5, -drawn),
        "zero point -128, as of pixels": call(2, 4, 6, -128),
        "as many outputs as inputs": call(3, 4, 4, 7),
        "all weights positive": call(2, 3, 12, 3, 60, 127),
        "a longer row": call(1, 5, 40, -9),
    }
    return [Case(name, arguments) for name, arguments in calls.items()]


def _zp_inputs(sums, weight, zero_point):
    ones = torch.full((1, weight.shape[1]), 128 + zero_point, dtype=torch.int32)
    return sums - ones @ weight.int().T


def _zp_two_steps(sums, weight, zero_point):
    columns = torch.einsum("nk->n", weight.long())
    return sums - 128 * columns - zero_point * columns


def _zp_loop(sums, weight, zero_point):
    out = sums.clone()
    for n, row in enumerate(weight.tolist()):
        for w in row:
            out[:, n] -= w * 128 + w * zero_point
    return out


def _zp(factor=lambda z: 128 + z, total=lambda w: w.int().sum(1)):
    return lambda sums, weight, zero_point: sums - factor(zero_point) * total(weight)


CORRECTION = Exercise(
    name="ch12.zero_point_correction",
    title="Take the offset out",
    section="one-instruction-sixty-four-multiplications",
    hints=("Write q - Z as (q + 128) - something. What is the something?",
           "(q - Z) = (q + 128) - (128 + Z). The second part multiplies the sum of an output's weights, one number for each of the N outputs.",
           "sums - (128 + zero_point) * weight.int().sum(1)"),
    cases=correction_cases,
    reference=take_out,
    alternatives=(_zp_inputs, _zp_two_steps, _zp_loop),
    mistakes=(
        Mistake(_zp(factor=lambda z: 128), "the offset of 128 is out, the zero point is still in. Both multiply the sum of the weights."),
        Mistake(_zp(factor=lambda z: z), "the zero point is out, the 128 added to every input is still in."),
        Mistake(_zp(factor=lambda z: 128 - z), "the zero point has the wrong sign: q - Z = (q + 128) - (128 + Z)."),
        Mistake(_zp(factor=lambda z: -(128 + z)), "you added the correction. Raising the inputs raised the sum: subtract."),
        Mistake(_zp(factor=lambda z: 127 + z), "the offset is 128, the value of the flipped bit, not 127."),
        Mistake(_zp(total=lambda w: w.int().sum()), "you used the sum of the whole matrix for every output. Each output has its own sum of weights."),
        Mistake(_zp(total=lambda w: w.sum(1, dtype=torch.int8).int()), "your sums of weights wrapped around in 8 bits. Widen before adding."),
        Mistake(_zp(total=lambda w: w.int().abs().sum(1)), "you summed the sizes of the weights. Negative weights count negative."),
        Mistake(_zp(total=lambda w: torch.full((len(w),), w.shape[1])), "you subtracted the offset once for each input, without its weight."),
        Mistake(_zp(total=lambda w: w.int()[:, :4].sum(1)), "you corrected one group of four inputs. The whole row was shifted."),
        Mistake(_zp(factor=lambda z: 128 * z)),
        Mistake(_zp(factor=lambda z: 256 + z)),
        Mistake(lambda sums, weight, zero_point: sums),
    ),
)

# ---------------------------------------------------------------- the packed layout


def pack(weight):
    n, k = weight.shape
    padded = F.pad(weight, (0, -k % 4, 0, -n % 16))
    return padded.reshape(-1, 16, padded.shape[1] // 4, 4).permute(0, 2, 1, 3).flatten()


def pack_cases(generator):
    sizes = {"one register exactly": (16, 4), "two steps of inputs": (16, 8), "inputs to be filled up": (16, 3), "outputs to be filled up": (1, 4),
             "two blocks, both to be filled up": (17, 6)}
    return [Case(name, {"weight": _bytes(generator, size, -9, 9, torch.int8)}) for name, size in sizes.items()]


def _pk_transpose(weight):
    n, k = weight.shape
    padded = torch.zeros(-(-n // 16) * 16, -(-k // 4) * 4, dtype=torch.int8)
    padded[:n, :k] = weight
    return padded.unflatten(0, (-1, 16)).unflatten(2, (-1, 4)).transpose(1, 2).reshape(-1)


def _pk_loops(weight):
    n, k = weight.shape
    out = []
    for block in range(0, n, 16):
        for step in range(0, k, 4):
            for lane in range(16):
                for i in range(4):
                    row, column = block + lane, step + i
                    out.append(int(weight[row, column]) if row < n and column < k else 0)
    return torch.tensor(out, dtype=torch.int8)


def _pk_slices(weight):
    padded = F.pad(weight, (0, -weight.shape[1] % 4, 0, -len(weight) % 16))
    return torch.cat([step.flatten() for block in padded.split(16) for step in block.split(4, dim=1)])


def _pk(order=(0, 2, 1, 3), pad=lambda n, k: (0, -k % 4, 0, -n % 16), value=0):
    def answer(weight):
        padded = F.pad(weight, pad(*weight.shape), value=value)
        return padded.reshape(-1, 16, padded.shape[1] // 4, 4).permute(order).flatten()
    return answer


def _lanes_of_four(weight):
    padded = F.pad(weight, (0, -weight.shape[1] % 16, 0, -len(weight) % 4))
    return padded.reshape(-1, 4, padded.shape[1] // 16, 16).permute(0, 2, 1, 3).flatten()


def _unfilled(weight):
    return torch.cat([step.flatten() for block in weight.split(16) for step in block.split(4, dim=1)])


PACK = Exercise(
    name="ch12.pack",
    title="The packed layout",
    section="the-packed-layout",
    hints=("Read the layout from the right: four inputs are neighbors, then 16 outputs, then the next four inputs, then the next 16 outputs.",
           "Fill up to multiples of 16 and 4 with zeros. Reshape to (N/16, 16, K/4, 4); two of these axes have to change places.",
           "F.pad(weight, (0, -k % 4, 0, -n % 16)).reshape(-1, 16, k4, 4).permute(0, 2, 1, 3).flatten()"),
    cases=pack_cases,
    reference=pack,
    alternatives=(_pk_transpose, _pk_loops, _pk_slices),
    mistakes=(
        Mistake(_pk(order=(0, 1, 2, 3)), "you filled up the matrix but kept its order. The four inputs of all 16 outputs must come before the next four inputs."),
        Mistake(_pk(order=(2, 0, 1, 3)), "the steps of four inputs are your outermost axis. A block of 16 outputs comes whole before the next block."),
        Mistake(_pk(order=(0, 2, 3, 1)), "within a register you put the 16 outputs innermost. The four inputs of one output are neighbors: they share a lane."),
        Mistake(_pk(pad=lambda n, k: (-k % 4, 0, -n % 16, 0)), "you put the zeros in front. They come after the last input and after the last output."),
        Mistake(_lanes_of_four, "you took 4 outputs and 16 inputs. A register holds 16 outputs with 4 inputs each."),
        Mistake(_unfilled, "the order is right, but you did not fill up with zeros: every register has 64 bytes."),
        Mistake(lambda weight: pack(weight)[: weight.numel()], "you cut the fillers off at the end. They are part of the layout, wherever they lie."),
        Mistake(_pk(value=-128), "you filled up with -128. The fillers are zeros, so that they add nothing."),
        Mistake(_pk(pad=lambda n, k: (0, 4 - k % 4, 0, 16 - n % 16)), "you added a whole step or block of zeros where the size already was a multiple."),
        Mistake(lambda weight: pack(weight).flip(0)),
        Mistake(lambda weight: -pack(weight)),
        Mistake(lambda weight: pack(weight)[4:]),
    ),
)

# ---------------------------------------------------------------- what bounds it


def intensity(m, k, n, weight_bits, activation_bits, peak, bandwidth):
    work = m * k * n
    nbytes = (k * n * weight_bits + (m * k + m * n) * activation_bits) / 8
    return work / nbytes, max(work / peak, nbytes / bandwidth) / 1e3


def intensity_cases(generator):
    m = int(torch.randint(20, 60, (1,), generator=generator))
    calls = {
        "one row, 8 bits": (1, 1024, 512, 8, 8, 500.0, 50.0),
        "a batch, 8 bits": (4 * m, 1024, 1024, 8, 8, 500.0, 50.0),
        "one row, 4-bit weights": (1, 4096, 4096, 4, 8, 500.0, 50.0),
        "float32": (m, 300, 784, 32, 32, 60.0, 20.0),
        "activations weigh more than weights": (64 * m, 64, 32, 4, 16, 200.0, 10.0),
        "near the ridge": (12, 1000, 2000, 8, 8, 500.0, 50.0),
        "a slow processor with fast memory": (1, 640, m, 8, 8, 1.0, 40.0),
    }
    names = ("m", "k", "n", "weight_bits", "activation_bits", "peak", "bandwidth")
    return [Case(name, dict(zip(names, values, strict=True))) for name, values in calls.items()]


def _in_roof(m, k, n, weight_bits, activation_bits, peak, bandwidth):
    nbytes = k * n * weight_bits / 8 + m * (k + n) * activation_bits / 8
    each = m * n * k / nbytes
    return each, m * n * k / min(peak, each * bandwidth) / 1000


def _in_if(m, k, n, weight_bits, activation_bits, peak, bandwidth):
    bits = weight_bits * n * k + activation_bits * m * k + activation_bits * m * n
    each = 8 * m * k * n / bits
    return (each, m * k * n / (1e3 * peak)) if each > peak / bandwidth else (each, bits / (8e3 * bandwidth))


def _in_tensor(m, k, n, weight_bits, activation_bits, peak, bandwidth):
    sizes = torch.tensor([k * n * weight_bits, m * k * activation_bits, m * n * activation_bits], dtype=torch.float64) / 8
    times = torch.stack([torch.tensor(m * k * n / peak, dtype=torch.float64), sizes.sum() / bandwidth])
    return float(m * k * n / sizes.sum()), float(times.max()) * 1e-3


def _in(work=lambda m, k, n: m * k * n, nbytes=lambda m, k, n, w, a: (k * n * w + (m * k + m * n) * a) / 8, time=max, each=lambda work, nbytes: work / nbytes):
    """A family of answers: each argument is one decision that can go wrong."""
    def answer(m, k, n, weight_bits, activation_bits, peak, bandwidth):
        done, moved = work(m, k, n), nbytes(m, k, n, weight_bits, activation_bits)
        return each(done, moved), time(done / peak, moved / bandwidth) / 1e3
    return answer


def _swapped_rates(m, k, n, weight_bits, activation_bits, peak, bandwidth):
    return intensity(m, k, n, weight_bits, activation_bits, bandwidth, peak)


INTENSITY = Exercise(
    name="ch12.intensity",
    title="What bounds it",
    section="the-roofline",
    hints=("Two clocks run at the same time: one for the multiply-adds, one for the bytes. Which of them decides when the layer is done?",
           "M K N multiply-adds. K N weights, M K inputs and M N outputs, each in its own bits, 8 bits a byte. The intensity is the quotient; the time is the "
           "longer of work / peak and bytes / bandwidth, divided by 1,000 for microseconds.",
           "nbytes = (k * n * weight_bits + (m * k + m * n) * activation_bits) / 8; return work / nbytes, max(work / peak, nbytes / bandwidth) / 1e3"),
    cases=intensity_cases,
    reference=intensity,
    alternatives=(_in_roof, _in_if, _in_tensor),
    tolerance=1e-6,
    mistakes=(
        Mistake(_in(nbytes=lambda m, k, n, w, a: k * n * w + (m * k + m * n) * a), "you counted bits as bytes: divide by 8."),
        Mistake(_in(nbytes=lambda m, k, n, w, a: k * n * w / 8), "you counted the weights only. Inputs and outputs move too."),
        Mistake(_in(nbytes=lambda m, k, n, w, a: (k * n * w + m * k * a) / 8), "you forgot the outputs: they are written."),
        Mistake(_in(nbytes=lambda m, k, n, w, a: (k * n * w + m * n * a) / 8), "you forgot the inputs: they are read."),
        Mistake(_in(nbytes=lambda m, k, n, w, a: (k * n + m * k + m * n) * w / 8), "you gave activations the bits of the weights. They have bits of their own."),
        Mistake(_in(nbytes=lambda m, k, n, w, a: (m * k * n * w + (m * k + m * n) * a) / 8),
                "you moved the weights once for each row. A kernel that reuses them moves them once for the batch."),
        Mistake(_in(time=lambda a, b: a + b), "you added the two times. They pass side by side: the longer one counts."),
        Mistake(_in(time=min), "you took the shorter time. The layer is done when the slower of the two is done."),
        Mistake(_in(each=lambda work, nbytes: nbytes / work), "your intensity is upside down: multiply-adds for each byte."),
        Mistake(_in(work=lambda m, k, n: 2 * m * k * n), "you counted a multiplication and an addition as two. A multiply-add is one here, as in the peak."),
        Mistake(_swapped_rates, "you divided the work by the bandwidth and the bytes by the peak."),
        Mistake(lambda **given: (intensity(**given)[0], intensity(**given)[1] * 1e3),
                "your time is in nanoseconds: G a second are thousands a microsecond."),
        Mistake(_in(work=lambda m, k, n: k * n)),
        Mistake(_in(time=lambda a, b: a)),
        Mistake(_in(time=lambda a, b: b)),
    ),
)

# ---------------------------------------------------------------- pruning by tiles


def prune_to(weight, count):
    n, k = weight.shape
    tiles = weight.long().reshape(n // 16, 16, k // 4, 4)
    strength = tiles.square().sum((1, 3)).flatten()
    kept = torch.zeros(len(strength), dtype=torch.bool)
    kept[strength.argsort(descending=True)[:count]] = True
    return (tiles * kept.reshape(n // 16, 1, k // 4, 1)).reshape(n, k).to(torch.int8)


def tile_cases(generator):
    def drawn(n, k, count, low=-9, high=9):
        return {"weight": _bytes(generator, (n, k), low, high, torch.int8), "count": count}

    spread = drawn(32, 4, 1, -1, 1)
    spread["weight"][16:] = 5                    # no weight of this tile is the largest
    spread["weight"][0, 3] = 30
    signed = drawn(16, 8, 1, 0, 1)
    signed["weight"][:, 4:] = torch.tensor([[6, -6, 6, -6]], dtype=torch.int8)
    large = drawn(32, 4, 1, -8, 8)
    large["weight"][:16] = 16                    # 16 x 16 is 0 in 8 bits
    calls = {"signs that cancel": signed, "many middling weights or one large": spread, "squares beyond 8 bits": large,
             "none kept": drawn(16, 4, 0, -1, 1)}
    return [Case(name, arguments) for name, arguments in calls.items()]


def _pt_loops(weight, count):
    places = [(n, k) for n in range(0, len(weight), 16) for k in range(0, weight.shape[1], 4)]
    strength = {(n, k): float(weight[n : n + 16, k : k + 4].double().square().sum()) for n, k in places}
    out = torch.zeros_like(weight)
    for n, k in sorted(places, key=lambda place: -strength[place])[:count]:
        out[n : n + 16, k : k + 4] = weight[n : n + 16, k : k + 4]
    return out


def _pt_pooled(weight, count):
    strength = F.avg_pool2d(weight.double().square()[None, None], (16, 4))[0, 0]
    if not count:
        return torch.zeros_like(weight)
    mask = strength >= strength.flatten().topk(count).values[-1]
    return weight * torch.kron(mask, torch.ones(16, 4, dtype=torch.bool))


def _pt_norms(weight, count):
    tiles = weight.unflatten(0, (-1, 16)).unflatten(2, (-1, 4)).transpose(1, 2)
    lengths = torch.linalg.vector_norm(tiles.double(), dim=(2, 3))
    order = lengths.flatten().sort(descending=True).indices
    mask = torch.isin(torch.arange(lengths.numel()), order[:count]).reshape(lengths.shape)
    return torch.where(mask[:, :, None, None], tiles, torch.zeros_like(tiles)).transpose(1, 2).reshape(weight.shape)


def _pt(score=lambda tiles: tiles.square().sum((1, 3)), shape=(16, 4), descending=True, change=lambda count: count, widen=lambda w: w.long()):
    """A family of answers: each argument is one decision that can go wrong."""
    def answer(weight, count):
        n, k = weight.shape
        rows, columns = shape
        tiles = widen(weight).reshape(n // rows, rows, k // columns, columns)
        strength = score(tiles).flatten()
        kept = torch.zeros(len(strength), dtype=torch.bool)
        kept[strength.argsort(descending=descending)[: change(count)]] = True
        return (weight.reshape(tiles.shape) * kept.reshape(n // rows, 1, k // columns, 1)).reshape(n, k)
    return answer


def _single_weights(weight, count):
    kept = torch.zeros(weight.numel(), dtype=torch.bool)
    kept[weight.int().abs().flatten().argsort(descending=True, stable=True)[: 64 * count]] = True
    return weight * kept.reshape(weight.shape)


def _mask_alone(weight, count):
    return (prune_to(weight, count) != 0).to(torch.int8)


def _inverted(weight, count):
    return weight - prune_to(weight, count)


PRUNE_TILES = Exercise(
    name="ch12.prune_tiles",
    title="Zeros in tiles",
    section="zeros-that-come-in-tiles",
    hints=("A tile stays or goes as a whole. Give each tile one number, rank the numbers, keep the first `count`.",
           "Reshape to (N/16, 16, K/4, 4): axes 1 and 3 are inside a tile. Squares do not fit int8: widen first.",
           "tiles = weight.long().reshape(n // 16, 16, k // 4, 4); strength = tiles.square().sum((1, 3)); mask of shape (n // 16, 1, k // 4, 1)"),
    cases=tile_cases,
    reference=prune_to,
    alternatives=(_pt_loops, _pt_pooled, _pt_norms),
    mistakes=(
        Mistake(_single_weights, "you kept single weights. Scattered like that they leave no register empty: keep or clear whole tiles of 16 x 4.",
                "zeros-that-do-not-help"),
        Mistake(_pt(score=lambda tiles: tiles.sum((1, 3))), "you ranked tiles by the sum of their weights, where signs cancel. Take the squares."),
        Mistake(_pt(score=lambda tiles: tiles.abs().amax((1, 3))), "you ranked tiles by their largest weight. Take the sum of the squares of all 64."),
        Mistake(_pt(descending=False), "you kept the weakest tiles. The strongest stay."),
        Mistake(_pt(widen=lambda w: w, score=lambda tiles: (tiles * tiles).sum((1, 3))),
                "your squares wrapped around in 8 bits. Widen the weights before you square them."),
        Mistake(_pt(change=lambda count: count + 1), "you kept one tile too many."),
        Mistake(_mask_alone, "you returned the mask. Return the weights, with zeros where tiles were cleared."),
        Mistake(_inverted, "you cleared the tiles that should stay, and kept the others."),
        Mistake(_pt(shape=(4, 4)), "your tiles have 4 outputs. A register holds 16 outputs with 4 inputs each."),
        Mistake(_pt(shape=(16, 2))),
        Mistake(_pt(change=lambda count: max(count - 1, 0))),
        Mistake(lambda weight, count: weight),
    ),
)

EXERCISES = [DOT_FOUR, CORRECTION, PACK, INTENSITY, PRUNE_TILES]
