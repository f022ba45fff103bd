"""Checks of chapter 19: the size of a file, a layer decoded, a reader that refuses, a pipeline with bugs."""

import struct
import zlib
from functools import partial

import torch

from qtoolkit.check import Case, Exercise, Mistake


def _integers(generator, count, low, high):
    return torch.randint(low, high + 1, (count,), generator=generator).tolist()


# ---------------------------------------------------------------- the size of a file


def _packed(entries, bits):
    return (entries * bits + 7) // 8


def _size(layers, biases, header, *, stream=_packed, in_gaps=True, in_codes=True, places=True, book=lambda bits, values: 4 * values,
          stored_biases=True, dense_biases=True, flip=False, unit=1):
    """The size, with every decision that can go wrong as an argument."""
    size, dense = header, 4 * biases * dense_biases
    size += 4 * biases * stored_biases
    for weights, kept, fillers, code_bits, gap_bits, values in layers:
        size += stream(kept + fillers * in_codes, code_bits) + book(code_bits, values)
        size += stream(kept + fillers * in_gaps, gap_bits) if places else 0
        dense += 4 * weights
    size = size * unit
    return size, size / dense if flip else dense / size


def file_size(layers, biases, header):
    return _size(layers, biases, header)


def size_cases(generator):
    a, b, c, d, e = _integers(generator, 5, 1, 40)
    calls = {
        "one layer": ([[100 + a, 9, 1, 3, 4, 7]], 5, 13),
        "streams that end inside a byte": ([[1000, 11 + 8 * a, 0, 3, 5, 6], [500, 13, 2, 5, 3, 20]], 7, 20),
        "many fillers": ([[4000 + b, 40, 90 + b, 4, 3, 15]], 10, 15),
        "a codebook that is not full": ([[2000, 100 + c, 8, 5, 5, 19]], 8, 17),
        "LeNet-300-100, about": ([[235_200, 10_000 + d, 400, 4, 6, 15], [30_000, 2400, 60 + e, 4, 5, 15], [1000, 260, 3, 4, 4, 15]], 410, 80),
        "no biases": ([[300, 30, 2 + a, 2, 4, 3]], 0, 12),
        "no layer": ([], 10 + b, 15),
    }
    return [Case(name, {"layers": layers, "biases": biases, "header": header}) for name, (layers, biases, header) in calls.items()]


def _fs_tensor(layers, biases, header):
    rows = torch.tensor(layers, dtype=torch.long).reshape(-1, 6)
    entries = rows[:, 1] + rows[:, 2]
    streams = (entries * rows[:, 3] + 7).div(8, rounding_mode="floor") + (entries * rows[:, 4] + 7).div(8, rounding_mode="floor")
    size = int(streams.sum() + 4 * rows[:, 5].sum()) + 4 * biases + header
    return size, (4 * int(rows[:, 0].sum()) + 4 * biases) / size


def _fs_parts(layers, biases, header):
    parts = [header, 4 * biases]
    for _, kept, fillers, *widths, values in layers:
        parts += [len(range(0, (kept + fillers) * width, 8)) for width in widths] + [4 * values]
    return sum(parts), 4.0 * (sum(layer[0] for layer in layers) + biases) / sum(parts)


def _fs_divmod(layers, biases, header):
    size = 4 * biases + header
    for layer in layers:
        for width in layer[3:5]:
            whole, rest = divmod((layer[1] + layer[2]) * width, 8)
            size += whole + (1 if rest else 0)
        size += 4 * layer[5]
    return size, 4 * (biases + sum(layer[0] for layer in layers)) / size


def _rounded_at_the_end(layers, biases, header):
    bits = sum((kept + fillers) * (code + gap) for _, kept, fillers, code, gap, _ in layers)
    size = -(-bits // 8) + sum(4 * layer[5] for layer in layers) + 4 * biases + header
    return size, 4 * (biases + sum(layer[0] for layer in layers)) / size


def _codes_for_all(layers, biases, header):
    return file_size([[weights, weights, 0, *rest] for weights, _, _, *rest in layers], biases, header)


FILE_SIZE = Exercise(
    name="ch19.file_size",
    title="The size of a file",
    section="stage-by-stage-in-bytes",
    hints=("Write down everything that a reader needs. What is in a layer besides kept weights, and what is in the file besides layers?",
           "Entries are kept weights and fillers; both streams have all of them. Round each stream up to whole bytes. Add 4 bytes a codebook value, "
           "4 bytes a bias, and the header. Dense is 4 bytes a weight and 4 bytes a bias.",
           "size += -(-entries * code_bits // 8) + -(-entries * gap_bits // 8) + 4 * values; return size, dense / size."),
    cases=size_cases,
    reference=file_size,
    alternatives=(_fs_tensor, _fs_parts, _fs_divmod),
    tolerance=1e-6,
    mistakes=(
        Mistake(partial(_size, in_gaps=False, in_codes=False), "you did not count the fillers. A filler is an entry of both streams."),
        Mistake(partial(_size, in_codes=False), "fillers have a gap in your file, but no code. Both lists are equally long: a filler has code 0."),
        Mistake(partial(_size, in_gaps=False), "fillers have a code in your file, but no gap."),
        Mistake(partial(_size, places=False), "you forgot the gaps. Without them nobody knows where the weights belong."),
        Mistake(partial(_size, book=lambda bits, values: 0), "you forgot the codebooks. A code without its value is worth nothing."),
        Mistake(partial(_size, book=lambda bits, values: 4 << bits),
                "you counted 2^bits values for each codebook. The file holds as many as there are: `values`."),
        Mistake(partial(_size, book=lambda bits, values: values), "a codebook value is a float32: 4 bytes, not one."),
        Mistake(partial(_size, stored_biases=False), "you forgot the biases in the file. They are stored too, 4 bytes each."),
        Mistake(partial(_size, dense_biases=False), "your dense network has no biases. Count them on both sides of the ratio, or the ratio compares two things."),
        Mistake(partial(_size, stored_biases=False, dense_biases=False), "you left the biases out on both sides. A network without biases gives other answers."),
        Mistake(lambda layers, biases, header: _size(layers, biases, 0) if layers or biases else (1, 0.0), "you forgot the header."),
        Mistake(partial(_size, stream=lambda entries, bits: entries * bits // 8), "you rounded the streams down. A begun byte is a byte: round up."),
        Mistake(_rounded_at_the_end, "you rounded once, for all streams together. Each stream begins on a new byte, so each is rounded up on its own."),
        Mistake(partial(_size, flip=True), "your ratio is upside down: dense bytes over file bytes."),
        Mistake(partial(_size, unit=8), "your size is in bits. A file is measured in bytes."),
        Mistake(_codes_for_all, "you stored a code for every weight. Only kept weights and fillers have one."),
        Mistake(partial(_size, stream=lambda entries, bits: entries * bits // 8 + 1)),
        Mistake(lambda layers, biases, header: (file_size(layers, biases, header)[0] + 1, file_size(layers, biases, header)[1])),
        Mistake(lambda layers, biases, header: file_size(layers, biases, header)[::-1]),
    ),
)

# ---------------------------------------------------------------- from lists to weights


def _decoded(gaps, codes, codebook, shape, *, start=-1, running=True, table=lambda book: torch.cat([torch.zeros(1), book]), keep=lambda codes: codes >= 0,
             skip=False, write=None, layout=lambda flat, shape: flat.reshape(shape)):
    if skip:
        gaps, codes = gaps[codes > 0], codes[codes > 0]
    places = (gaps.cumsum(0) if running else gaps) + start
    flat = torch.zeros(shape[0] * shape[1])
    values, chosen = table(codebook), keep(codes)
    for place, code in zip(places[chosen].tolist(), codes[chosen].tolist(), strict=True):
        if place < len(flat):
            flat[place] = values[code] if write is None else write(flat[place], values, code)
    return layout(flat, shape)


def decode_layer(gaps, codes, codebook, shape):
    return _decoded(gaps, codes, codebook, shape)


def _layer(generator, shape, density, bits, values):
    """A random layer as gaps of `bits` bits, codes and codebook."""
    kept = torch.rand(shape[0] * shape[1], generator=generator) < density
    gaps, codes, last = [], [], -1
    for place in torch.nonzero(kept).flatten().tolist():
        while place - last > 1 << bits:
            gaps, codes, last = [*gaps, 1 << bits], [*codes, 0], last + (1 << bits)
        gaps, codes, last = [*gaps, place - last], [*codes, 1 + _integers(generator, 1, 0, values - 1)[0]], place
    book = (torch.randperm(4 * values, generator=generator)[:values] - 2 * values + 0.5) / 4
    return torch.tensor(gaps, dtype=torch.long), torch.tensor(codes, dtype=torch.long), book.sort().values


def layer_cases(generator):
    def case(gaps, codes, codebook, shape):
        return {"gaps": torch.tensor(gaps), "codes": torch.tensor(codes), "codebook": torch.tensor(codebook), "shape": shape}

    a = _integers(generator, 1, 1, 6)[0] / 4
    random = {"a random layer": ((3, 8), 0.4, 3, 4), "short gaps, many fillers": ((2, 12), 0.15, 1, 3), "nearly dense": ((3, 4), 0.9, 2, 7)}
    calls = {
        "the first and the last weight": case([1, 3, 4], [1, 3, 2], [-a, 0.125, a], [2, 4]),
        "a filler": case([2, 4, 3], [2, 0, 1], [-a, 2.0], [3, 4]),
        "two fillers in a row": case([4, 4, 4, 2], [1, 0, 0, 2], [-1.5, a], [4, 4]),
        "more rows than columns": case([1, 2, 3, 1], [1, 2, 3, 3], [-1.0, -a, 3.0], [4, 2]),
        "nothing kept": {"gaps": torch.zeros(0, dtype=torch.long), "codes": torch.zeros(0, dtype=torch.long), "codebook": torch.tensor([a]), "shape": [2, 3]},
    }
    for name, (shape, density, bits, values) in random.items():
        gaps, codes, book = _layer(generator, shape, density, bits, values)
        calls[name] = {"gaps": gaps, "codes": codes, "codebook": book, "shape": list(shape)}
    return [Case(name, arguments) for name, arguments in calls.items()]


def _dl_loop(gaps, codes, codebook, shape):
    weight, at = torch.zeros(shape), -1
    for gap, code in zip(gaps.tolist(), codes.tolist(), strict=True):
        at += gap
        if code:
            weight[at // shape[1], at % shape[1]] = codebook[code - 1]
    return weight


def _dl_mask(gaps, codes, codebook, shape):
    flat, places, real = torch.zeros(shape).flatten(), torch.cumsum(gaps, 0) - 1, codes > 0
    flat[places[real]] = codebook[codes[real] - 1]
    return flat.view(*shape)


def _dl_scatter(gaps, codes, codebook, shape):
    values = torch.nn.functional.pad(codebook, (1, 0))[codes]
    return torch.zeros(shape[0] * shape[1]).scatter(0, gaps.cumsum(0) - 1, values).reshape(shape)


def _by_columns(flat, shape):
    return flat.reshape(shape[1], shape[0]).T


DECODE_LAYER = Exercise(
    name="ch19.decode_layer",
    title="From lists to weights",
    section="the-file-byte-by-byte",
    hints=("Two questions for each entry: where, and what? The first is a running sum, the second a look into a table.",
           "places = running sum of gaps, less 1. A filler (code 0) takes part in the running sum, and writes nothing. "
           "Code k is codebook[k - 1]: the codebook holds no zero.",
           "weight[gaps.cumsum(0) - 1] = torch.cat([torch.zeros(1), codebook])[codes]; then reshape."),
    cases=layer_cases,
    reference=decode_layer,
    alternatives=(_dl_loop, _dl_mask, _dl_scatter),
    mistakes=(
        Mistake(partial(_decoded, start=0), "every weight is one place too far right. The first gap counts from position -1, so subtract 1."),
        Mistake(partial(_decoded, running=False), "you took gaps for places. A gap is the distance to the entry before: add them up."),
        Mistake(partial(_decoded, table=lambda book: torch.cat([book[-1:], book])),
                "a filler became a weight: codebook[code - 1] with code 0 is the last value. Fillers write nothing."),
        Mistake(partial(_decoded, table=lambda book: torch.cat([book, book[-1:]])),
                "your codebook is shifted by one. It holds no zero: code 1 is codebook[0]."),
        Mistake(partial(_decoded, skip=True), "you dropped the fillers before adding up the gaps. Their gaps count: they bridge the distance."),
        Mistake(partial(_decoded, layout=_by_columns), "you filled the layer column by column. It is flattened row by row."),
        Mistake(lambda gaps, codes, codebook, shape: _decoded(gaps, codes, codebook, shape).flatten(), "your weight is flat. Give it its shape."),
        Mistake(partial(_decoded, layout=lambda flat, shape: flat.reshape(shape[::-1])), "rows and columns are exchanged in your shape."),
        Mistake(partial(_decoded, table=lambda book: torch.arange(len(book) + 1.0)), "you wrote codes instead of values. Look them up in the codebook."),
        Mistake(partial(_decoded, start=-2), "you subtracted the origin twice."),
        Mistake(partial(_decoded, table=lambda book: -torch.cat([torch.zeros(1), book]))),
        Mistake(partial(_decoded, keep=lambda codes: torch.arange(len(codes)) < len(codes) - 1)),
        Mistake(partial(_decoded, table=lambda book: torch.cat([torch.zeros(1), book.flip(0)]))),
    ),
)

# ---------------------------------------------------------------- a reader that refuses


def _checked(data, limit, *, order=("magic", "version", "length", "checksum", "size"), little="little", crc_from=10, short=True,
             wrong_length=lambda said, there: said != there, too_large=lambda size, limit: size > limit, version=lambda v: v != 1):
    data = bytes(data)

    def number(start, end):
        if not short and len(data) < end:
            raise IndexError("index out of range")
        return int.from_bytes(data[start:end], little)

    tests = {
        "magic": lambda: data[:4] != b"QTDC",
        "version": lambda: version(number(4, 6)) or len(data) < 6,
        "length": lambda: (short and len(data) < 18) or wrong_length(number(10, 14), len(data)),
        "checksum": lambda: number(6, 10) != zlib.crc32(data[crc_from:]),
        "size": lambda: too_large(number(14, 18), limit),
    }
    return next((name for name in order if tests[name]()), "")


def refuse(data, limit):
    return _checked(data, limit)


def _file(rest, *, version=1, longer=0, size=1000, magic=b"QTDC", crc=0):
    body = struct.pack("<II", 18 + len(rest) + longer, size) + bytes(rest)
    return list(magic + struct.pack("<HI", version, zlib.crc32(body) ^ crc) + body)


def file_cases(generator):
    rest = _integers(generator, 4, 0, 255)
    size = 100 + _integers(generator, 1, 0, 400)[0]
    good = _file(rest, size=size)
    flipped = good.copy()
    flipped[20] ^= 8
    only_the_rest = good.copy()
    only_the_rest[6:10] = list(zlib.crc32(bytes(rest)).to_bytes(4, "little"))
    calls = {
        "a good file": (good, 1000),
        "exactly as large as the limit": (good, size),
        "one byte too large": (good, size - 1),
        "another kind of file": ([80, 75, *good[2:]], 1000),
        "a later version": (_file(rest, version=2), 1000),
        "version 256": (_file(rest, version=256), 1000),
        "a flipped bit": (flipped, 1000),
        "a flipped bit in the checksum": (_file(rest, crc=1), 10_000),
        "a checksum of the rest only": (only_the_rest, 1000),
        "cut short": (good[:-3], 1000),
        "bytes after the end": ([*good, 0], 1000),
        "cut short, and its size is too large": (good[:-1], 1),
        "damaged, and its size is too large": (flipped, 1),
        "a length that is wrong, checksum correct": (_file(rest, longer=5), 1000),
        "another kind and another version": (_file(rest, magic=b"QTDX", version=7), 1000),
        "a later version, damaged": (_file(rest, version=3, crc=9), 1000),
        "it ends after the version": (good[:6], 1000),
        "it ends inside the header": (good[:13], 1000),
        "it ends inside the version": (good[:5], 1000),
        "empty": ([], 1000),
        "only a header, nothing decoded": (_file([], size=0), 0),
        "a hostile size, checksum correct": (_file(rest, size=4_000_000_000), 1 << 20),
    }
    return [Case(name, {"data": data, "limit": limit}) for name, (data, limit) in calls.items()]


def _rf_struct(data, limit):
    raw = bytes(data)
    if not raw.startswith(b"QTDC"):
        return "magic"
    if raw[4:6] != b"\x01\x00":
        return "version"
    if len(raw) < 18:
        return "length"
    crc, length, size = struct.unpack_from("<III", raw, 6)
    if length != len(raw):
        return "length"
    if crc != zlib.crc32(raw[10:]):
        return "checksum"
    return "size" if size > limit else ""


def _rf_sums(data, limit):
    def number(at, width):
        return sum(byte << 8 * i for i, byte in enumerate(data[at : at + width]))

    checks = [("magic", data[:4] == [81, 84, 68, 67]), ("version", data[4:6] == [1, 0]), ("length", len(data) >= 18 and number(10, 4) == len(data)),
              ("checksum", number(6, 4) == zlib.crc32(bytes(data[10:]))), ("size", number(14, 4) <= limit)]
    return next((name for name, right in checks if not right), "")


def _rf_padded(data, limit):
    head = (list(data) + [0] * 18)[:18]
    word = [int.from_bytes(bytes(head[i : i + 4]), "little") for i in (0, 6, 10, 14)]
    if word[0] != 0x43445451 or len(data) < 4:
        return "magic"
    if head[4] + 256 * head[5] != 1 or len(data) < 6:
        return "version"
    if word[2] != len(data) or len(data) < 18:
        return "length"
    return "checksum" if word[1] != zlib.crc32(bytes(data[10:])) else "size" * (word[3] > limit)


REFUSE = Exercise(
    name="ch19.refuse",
    title="A reader that refuses",
    section="back-again-bit-for-bit",
    hints=("Check in the order in which you can trust: what kind of file, which version, is all of it there, is it undamaged, do I have room?",
           "bytes(data)[10:14] is little-endian. A slice of a short file is short, not an error; so ask for 18 bytes before you trust the header. "
           "The checksum covers everything from byte 10 on. A size equal to the limit is allowed.",
           'int.from_bytes(data[6:10], "little") != zlib.crc32(data[10:]) after the length, and the size last.'),
    cases=file_cases,
    reference=refuse,
    alternatives=(_rf_struct, _rf_sums, _rf_padded),
    mistakes=(
        Mistake(partial(_checked, short=False),
                "a short file ends your function with an exception. A reader must answer any bytes: check that the header is all there."),
        Mistake(partial(_checked, crc_from=0), "your checksum covers the whole file. It cannot cover itself: it begins at byte 10."),
        Mistake(partial(_checked, crc_from=18), "your checksum covers only what comes after the header. It begins at byte 10, so that length and size are protected too."),
        Mistake(partial(_checked, little="big"), "you read numbers with the highest byte first. All numbers are little-endian."),
        Mistake(partial(_checked, wrong_length=lambda said, there: said > there),
                "you accept bytes after the end. The length in the header has to be the length of the file, no less and no more."),
        Mistake(partial(_checked, wrong_length=lambda said, there: said < there), "you accept files that are cut short. Compare lengths for equality."),
        Mistake(partial(_checked, too_large=lambda size, limit: size >= limit), "a size equal to the limit is allowed: refuse only what is larger."),
        Mistake(partial(_checked, too_large=lambda size, limit: False), "you never look at the decoded size. A file with a correct checksum may still ask for all your memory."),
        Mistake(partial(_checked, order=("magic", "version", "size", "length", "checksum")),
                "you look at the size before you know that the header is undamaged. First length and checksum, then the size."),
        Mistake(partial(_checked, order=("magic", "version", "checksum", "length", "size")),
                "the checksum comes before the length in your reader. A file that is cut short should be called short: length first."),
        Mistake(partial(_checked, order=("version", "magic", "length", "checksum", "size")),
                "you look at the version of a file that may not be of this kind. Magic first."),
        Mistake(partial(_checked, order=("magic", "length", "checksum", "version", "size")),
                "the version comes too late. A later version may have another header, so nothing after it can be trusted before you know it."),
        Mistake(partial(_checked, version=lambda v: v > 255 or v & 1 == 0), "your version check lets other versions pass. Only 1 is known."),
        Mistake(partial(_checked, order=("magic", "version", "length", "size")), "you never compare the checksum."),
        Mistake(lambda data, limit: "" if refuse(data, limit) else "ok"),
        Mistake(lambda data, limit: refuse(data[1:], limit)),
        Mistake(partial(_checked, order=("magic", "version", "checksum", "size"))),
    ),
)

# ---------------------------------------------------------------- find the bug


def _stages(weight, gradient, kept, centers, lr, *, prune_first=True, masked_gradient=True, zeros_stay=True, mean=False, sign=-1.0, reassign=False, move=True,
            smallest=False):
    """The three stages, with the colleague's three bugs and others as arguments."""
    codes = (weight[:, None] - centers).abs().argmin(1)
    ranked = weight if prune_first else centers[codes]
    mask = torch.zeros(len(weight), dtype=torch.bool)
    mask[ranked.abs().argsort(descending=not smallest, stable=True)[:kept]] = True
    counted = mask if masked_gradient else torch.ones_like(mask)
    moved = centers.clone()
    for k in range(len(centers)):
        mine = gradient[counted & (codes == k)]
        if move and len(mine):
            moved[k] += sign * lr * (mine.mean() if mean else mine.sum())
    if reassign:
        codes = (weight[:, None] - moved).abs().argmin(1)
    return torch.where(mask, moved[codes], 0) if zeros_stay else moved[codes]


def stages(weight, gradient, kept, centers, lr):
    return _stages(weight, gradient, kept, centers, lr)


def _weights(generator, count):
    """Weights of magnitudes that all differ, by at least a 64th, in any order and of any sign."""
    size = (torch.randperm(2 * count, generator=generator)[:count] + 1) / 64
    return size * (2 * torch.randint(0, 2, (count,), generator=generator) - 1)


def stage_cases(generator):
    def case(weight, gradient, kept, centers, lr=0.125):
        return {"weight": torch.tensor(weight), "gradient": torch.tensor(gradient), "kept": kept, "centers": torch.tensor(centers), "lr": lr}

    a = _integers(generator, 1, 1, 7)[0] / 64
    calls = {
        "the colleague's example": case([0.9, -1.1, 0.8], [1.0, 1.0, -1.0], 3, [-1.0, 1.0], 0.1),
        "a pruned weight comes back": case([0.75 + a, -0.03125, -1.0, 0.0625], [1.0, 0.0, 2.0, 0.0], 2, [-1.0, 1.0]),
        "a pruned weight has a gradient": case([0.875, -1.0 - a, 0.25], [1.0, 1.0, 5.0], 2, [-1.0, 1.0]),
        "weights of one value are cut apart": case([0.5, 0.75, 1.0 + a, -0.625, 0.875], [1.0, 2.0, -1.0, 0.5, 3.0], 3, [-0.75, 0.75]),
        "a value that nobody keeps": case([0.0625, 0.09375, 1.0, -1.0 - a], [4.0, -3.0, 1.0, 2.0], 2, [-1.0, 0.0625, 1.0]),
        "one weight kept": case([0.25, -0.5, 0.4375], [1.0, 1.0, 1.0], 1, [-0.375, 0.25]),
        "a center that moves far": case([0.9375, 1.0625, -0.9375], [-8.0, -8.0, -9.0], 3, [-1.0, 1.0], 0.25),
    }
    calls["4 of 10 random weights"] = {"weight": _weights(generator, 10), "gradient": _weights(generator, 10) * 4, "kept": 4,
                                       "centers": torch.tensor([-0.25, -0.078125, 0.0859375, 0.2265625]), "lr": 0.125}
    return [Case(name, arguments) for name, arguments in calls.items()]


def _fb_threshold(weight, gradient, kept, centers, lr):
    mask = weight.abs() >= weight.abs().sort(descending=True).values[kept - 1]
    codes = torch.where(mask, (weight[:, None] - centers[None]).square().argmin(1) + 1, 0)
    table = torch.cat([torch.zeros(1), centers])
    steps = torch.zeros_like(table).index_add(0, codes, gradient)
    steps[0] = 0
    return (table - lr * steps)[codes]


def _fb_onehot(weight, gradient, kept, centers, lr):
    mask = torch.zeros_like(weight).scatter(0, weight.abs().topk(kept).indices, 1.0)
    member = torch.nn.functional.one_hot((weight[:, None] - centers).abs().argmin(1), len(centers)).float() * mask[:, None]
    return member @ (centers - lr * (member.T @ gradient))


def _fb_python(weight, gradient, kept, centers, lr):
    stay = sorted(range(len(weight)), key=lambda i: -abs(float(weight[i])))[:kept]
    nearest = {i: min(range(len(centers)), key=lambda k: abs(float(weight[i] - centers[k]))) for i in stay}
    out = torch.zeros(len(weight))
    for i, k in nearest.items():
        out[i] = centers[k] - lr * sum(float(gradient[j]) for j, other in nearest.items() if other == k)
    return out


_first, _gradient, _revived = {"prune_first": False}, {"masked_gradient": False}, {"zeros_stay": False}

FIND_THE_BUG = Exercise(
    name="ch19.find_the_bug",
    title="Find the bug",
    section="the-order-of-the-stages",
    hints=("Three questions: on what is the ranking made? Whose gradients move a center? What is a pruned weight at the end?",
           "Rank by the weights, not by their shared values: prune before you share. Sum gradients over mask & (codes == k). "
           "The mask is made and never used: put 0 where a weight was pruned.",
           "mask[weight.abs().argsort(descending=True)[:kept]] = True; gradient[mask & (codes == k)].sum(); torch.where(mask, moved[codes], 0)."),
    cases=stage_cases,
    reference=stages,
    alternatives=(_fb_threshold, _fb_onehot, _fb_python),
    tolerance=1e-5,
    mistakes=(
        Mistake(partial(_stages, **_first, **_gradient, **_revived),
                "your mask changes nothing yet: pruned weights come back at the end, and their gradients move centers. Only when that is repaired can you see in which order you prune and share."),
        Mistake(partial(_stages, **_first), "one bug is left. You share before you prune: weights of one shared value cannot be ranked. Rank the weights themselves."),
        Mistake(partial(_stages, **_gradient), "one bug is left. A pruned weight's gradient still moves a center: sum over kept weights only."),
        Mistake(partial(_stages, **_revived), "one bug is left. Pruned weights come back with a shared value: at the end they have to be 0."),
        Mistake(partial(_stages, **_first, **_revived), "the gradients are repaired. Two bugs are left: the order of the stages, and what pruned weights are."),
        Mistake(partial(_stages, **_first, **_gradient), "the zeros are repaired. Two bugs are left: the order of the stages, and whose gradients count."),
        Mistake(partial(_stages, mean=True), "you moved a center by the mean of the gradients. Equation 3 is a sum."),
        Mistake(partial(_stages, sign=1.0), "your step goes uphill: subtract lr times the gradient."),
        Mistake(partial(_stages, reassign=True), "you looked for the nearest center again after the step. Codes are fixed while the centers are trained."),
        Mistake(partial(_stages, move=False), "you left out the step of training."),
        Mistake(partial(_stages, smallest=True), "you kept the smallest weights. The largest stay."),
        Mistake(lambda weight, gradient, kept, centers, lr: torch.where(stages(weight, gradient, kept, centers, lr) != 0, weight - lr * gradient, 0)),
        Mistake(lambda weight, gradient, kept, centers, lr: stages(weight, gradient, kept, centers, 2 * lr)),
        Mistake(lambda weight, gradient, kept, centers, lr: _stages(weight, gradient, max(1, kept - 1), centers, lr)),
    ),
)

EXERCISES = [FILE_SIZE, DECODE_LAYER, REFUSE, FIND_THE_BUG]
