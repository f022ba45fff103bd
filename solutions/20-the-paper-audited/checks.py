"""Checks of chapter 20: a table's total, an impossible claim, a ratio with bugs, the size of a factorization."""

import math

import torch

from qtoolkit.check import AnyWrong, Case, Exercise, Mistake


def _drawn(generator, size, low, high):
    return torch.randint(low, high + 1, (size,), generator=generator).tolist()


# ---------------------------------------------------------------- the total of a table


def table_total(rows):
    weights = sum(n for n, _ in rows)
    percent = sum(n * p for n, p in rows) / weights
    return percent, 100 / percent


def table_cases(generator):
    a, b, c, d = _drawn(generator, 4, 2, 9)
    calls = {
        "one layer": [(1000 * a, 5.0)],
        "two equal layers": [(4000, 2.0 + a), (4000, 10.0 + b)],
        "a small layer that keeps nearly all": [(100_000 * a, 2.5), (100 * b, 80.0)],
        "the large layer last": [(300, 60.0 + c), (20_000, 6.0), (400_000, 2.4)],
        "a layer that grew": [(20, 130.0), (5000 * d, 4.0)],
        "many layers": [(n, p / 4) for n, p in zip(_drawn(generator, 6, 100, 90_000), _drawn(generator, 6, 8, 200))],
    }
    return [Case(name, {"rows": rows}) for name, rows in calls.items()]


def _tt_bytes(rows):
    dense = 4 * sum(n for n, _ in rows)
    file = sum(4 * n * p / 100 for n, p in rows)
    return 100 * file / dense, dense / file


def _tt_tensor(rows):
    n, p = torch.tensor(rows, dtype=torch.float64).T
    percent = float((n / n.sum()) @ p)
    return percent, 100 / percent


def _tt_harmonic(rows):
    ratio = sum(n for n, _ in rows) / sum(n / (100 / p) for n, p in rows)
    return 100 / ratio, ratio


def _tt(percent=lambda rows: table_total(rows)[0], ratio=lambda percent, rows: 100 / percent):
    def answer(rows):
        value = percent(rows)
        return value, ratio(value, rows)
    return answer


TABLE_TOTAL = Exercise(
    name="ch20.table_total",
    title="The total of a table",
    section="do-the-totals-follow-from-their-rows",
    hints=("A total in percent is a size divided by a size. Which sizes do the rows describe?",
           "A row of n weights at p percent takes n p / 100 of its n. Add what all rows take, divide by all weights. The ratio is 100 over that percentage.",
           "percent = sum(n * p for n, p in rows) / sum(n for n, _ in rows); return percent, 100 / percent."),
    cases=table_cases,
    reference=table_total,
    alternatives=(_tt_bytes, _tt_tensor, _tt_harmonic),
    tolerance=1e-6,
    mistakes=(
        Mistake(_tt(lambda rows: sum(p for _, p in rows) / len(rows)), "you averaged the rows as if all layers had one size. Weigh each row by its weights."),
        Mistake(_tt(ratio=lambda percent, rows: sum(100 / p for _, p in rows) / len(rows)), "your ratio is the mean of the layers' ratios. Take it from the total percentage."),
        Mistake(_tt(ratio=lambda percent, rows: sum(n * 100 / p for n, p in rows) / sum(n for n, _ in rows)),
                "your ratio is a weighted mean of ratios: sizes add up, ratios do not. Take 100 over the total percentage."),
        Mistake(_tt(lambda rows: sum(p for _, p in rows)), "you added percentages of different layers. Add sizes, then divide once."),
        Mistake(_tt(lambda rows: max(rows)[1]), "you took the row of the largest layer. The others are small, but they are in the file."),
        Mistake(_tt(lambda rows: table_total(rows)[0] / 100, lambda value, rows: 1 / value), "your ratio is right; the total is asked for in percent, not as a fraction."),
        Mistake(_tt(ratio=lambda percent, rows: percent / 100), "your ratio is upside down: how many times smaller is the file?"),
        Mistake(_tt(ratio=lambda percent, rows: 100 - percent), "your second number is what was saved, in percent. The ratio is dense over compressed: 100 / percent."),
        Mistake(_tt(ratio=lambda percent, rows: 100 / max(1, round(percent))), "you rounded the percentage before you divided. A ratio of 40 or 50 hangs on the decimals."),
        Mistake(lambda rows: table_total(rows)[::-1], "the two numbers are in the wrong order: first the percentage, then the ratio."),
        Mistake(_tt(lambda rows: table_total(rows)[0] + 1)),
        Mistake(_tt(lambda rows: min(p for _, p in rows) / 2)),
        Mistake(_tt(ratio=lambda percent, rows: 10 / percent)),
    ),
)

# ---------------------------------------------------------------- which claim is impossible


def _entropy(frequencies, log=math.log2):
    total = sum(frequencies)
    return -sum(f / total * log(f / total) for f in frequencies if f)


def audit(claims):
    return [i for i, (frequencies, width, printed) in enumerate(claims) if not _entropy(frequencies) - 0.05 <= printed <= width + 0.05]


def audit_cases(generator):
    k = _drawn(generator, 1, 2, 9)[0]
    flat, lone, skew = [k] * 8, [900 + k, 5, 5, 5], [64 * k, 32 * k, 16 * k, 8 * k, 4 * k, 2 * k, k, k]
    calls = {
        "above the fixed width": [(flat, 3, 3.0), (flat, 3, 3.3), (skew, 3, 3.2), (skew, 3, 2.1)],
        "below the entropy": [(flat, 3, 2.5), (skew, 3, 1.3), (skew, 3, 2.2)],
        "only rounded": [(skew, 3, 1.97), (skew, 3, 1.95), (flat, 3, 2.97), (flat, 3, 3.04)],
        "an unused symbol": [([4 * k, 0, 2 * k, 2 * k], 2, 1.5), ([k, 0, k, 0], 2, 0.5), ([4 * k, 0, 2 * k, 2 * k], 2, 2.3)],
        "a wider code than needed": [(lone, 4, 3.0), (lone, 4, 4.0), (lone, 4, 1.0), (lone, 4, 4.4)],
        "nothing wrong": [(flat, 3, 3.0), (lone, 2, 1.1), (skew, 3, 2.0)],
        "everything wrong": [(flat, 3, 1.4), (skew, 3, 9.0), (lone, 2, 2.5)],
        "a paper's last layer": [([_drawn(generator, 1, 20, 60)[0] for _ in range(32)], 5, 5.2), ([_drawn(generator, 1, 20, 60)[0] for _ in range(32)], 5, 4.9)],
    }
    return [Case(name, {"claims": claims}) for name, claims in calls.items()]


def _au_totals(claims):
    wrong = []
    for i, (frequencies, width, printed) in enumerate(claims):
        n = sum(frequencies)
        floor = math.log2(n) - sum(f * math.log2(f) for f in frequencies if f > 0) / n
        if printed + 0.05 < floor or printed - 0.05 > width:
            wrong.append(i)
    return wrong


def _au_tensor(claims):
    def floor(frequencies):
        p = torch.tensor([f for f in frequencies if f], dtype=torch.float64)
        p = p / p.sum()
        return float((-p * p.log2()).sum())
    return [i for i, (f, width, printed) in enumerate(claims) if printed < floor(f) - 0.05 or printed > width + 0.05]


def _au_sets(claims):
    low = {i for i, (f, _, printed) in enumerate(claims) if _entropy(f) > printed + 0.05}
    high = {i for i, (_, width, printed) in enumerate(claims) if printed > width + 0.05}
    return sorted(low | high)


def _au(low=lambda f, w: _entropy(f), high=lambda f, w: w, slack=0.05, wrong=True):
    return lambda claims: [i for i, (f, w, printed) in enumerate(claims) if (low(f, w) - slack <= printed <= high(f, w) + slack) != wrong]


AUDIT = Exercise(
    name="ch20.audit",
    title="Which claim is impossible?",
    section="bits-that-no-code-can-have",
    hints=("Two walls: no code that codes symbols one by one is below the entropy, and nobody needs more than the fixed width.",
           "A printed number of one decimal may be off by 0.05. A claim is impossible when printed + 0.05 is below H, or printed - 0.05 above the width. Leave out symbols of frequency 0.",
           "[i for i, (f, width, printed) in enumerate(claims) if not H(f) - 0.05 <= printed <= width + 0.05]"),
    cases=audit_cases,
    reference=audit,
    alternatives=(_au_totals, _au_tensor, _au_sets),
    mistakes=(
        Mistake(_au(low=lambda f, w: 0), "you look at the upper wall only. A mean below the entropy is impossible as well."),
        Mistake(_au(high=lambda f, w: 99), "you look at the lower wall only. Whoever pays more than the fixed width should not have coded."),
        Mistake(_au(slack=0.0), "the printed numbers are rounded to one decimal: allow 0.05 on either side."),
        Mistake(_au(wrong=False), "you returned the claims that are possible. The question is which are not."),
        Mistake(_au(low=lambda f, w: _entropy(f, math.log)), "your entropy is in nats: take the logarithm to base 2."),
        Mistake(_au(high=lambda f, w: _entropy(f) + 1),
                "H + 1 bounds an optimal Huffman code. The claim here is about the printed number: it is impossible only above the fixed width."),
        Mistake(_au(high=lambda f, w: 2**w), "the fixed width is in bits already. 2^width is the number of symbols that it can name."),
        Mistake(_au(low=lambda f, w: math.ceil(_entropy(f))), "you rounded the entropy up to whole bits. A mean may be a fraction."),
        Mistake(_au(low=lambda f, w: math.log2(len(f))), "log2 of the number of symbols is the entropy of equal frequencies only."),
        Mistake(lambda claims: [i + 1 for i in audit(claims)], "you count claims from 1. Return their places from 0."),
        Mistake(_au(slack=0.5)),
        Mistake(lambda claims: audit(claims)[:1]),
        Mistake(lambda claims: sorted(set(audit(claims)) ^ {0})),
    ),
)

# ---------------------------------------------------------------- find the bug


def ratio(layers, biases, header):
    file = header + 4 * biases
    for _, code_bits, gap_bits, codebook, table in layers:
        file += -(-code_bits // 8) + -(-gap_bits // 8) + 4 * codebook + table
    return 4 * (sum(layer[0] for layer in layers) + biases) / file


def ratio_cases(generator):
    a, b, c = _drawn(generator, 3, 3, 9)
    calls = {
        "the colleague's example": ([(16_000, 8000, 8000, 0, 16)], 0, 0),
        "streams that end inside a byte": ([(400, 8 * a + 1, 8 * b + 3, 0, 2)], 0, 10),
        "a codebook": ([(4000, 800, 640, 10 * c, 16)], 0, 20),
        "many biases": ([(2000, 1600, 800, 0, 8)], 30 * a, 12),
        "two layers": ([(30_000, 12_003, 9001, 63, 32), (1000, 1501, 777, 31, 16)], 40, 99),
        "a tiny layer": ([(12, 13, 9, 3, 2)], 4, 5),
        "a header larger than the streams": ([(100, 50 + a, 30 + b, 7, 4)], 2, 400),
    }
    return [Case(name, {"layers": layers, "biases": biases, "header": header}) for name, (layers, biases, header) in calls.items()]


def _ra(codes=lambda bits: -(-bits // 8), book=4, bias=4, dense_bias=True, head=True, gaps=True, tables=True, dense=lambda size: size, out=lambda d, f: d / f):
    """The colleague's function, some of its three bugs repaired, or others made."""
    def answer(layers, biases, header):
        file = (header if head else 0) + bias * biases
        for _, code_bits, gap_bits, codebook, table in layers:
            file += codes(code_bits) + (codes(gap_bits) if gaps else 0) + book * codebook + (table if tables else 0)
        return out(dense(4 * (sum(layer[0] for layer in layers) + biases * dense_bias)), file)
    return answer


def _floor(bits):
    return bits // 8


def _ra_ceil(layers, biases, header):
    streams = sum(math.ceil(c / 8) + math.ceil(g / 8) for _, c, g, _, _ in layers)
    rest = sum(4 * k + t for *_, k, t in layers)
    return (sum(n for n, *_ in layers) + biases) * 4 / (streams + rest + header + biases * 4)


def _ra_bits(layers, biases, header):
    bits = 8 * header + 32 * biases + sum((c + 7) // 8 * 8 + (g + 7) // 8 * 8 + 32 * k + 8 * t for _, c, g, k, t in layers)
    return 32 * (sum(layer[0] for layer in layers) + biases) / bits


def _ra_tensor(layers, biases, header):
    n, c, g, k, t = torch.tensor(layers, dtype=torch.float64).T
    file = (c / 8).ceil() + (g / 8).ceil() + 4 * k + t
    return float(4 * (n.sum() + biases) / (file.sum() + header + 4 * biases))


FIND_THE_BUG = Exercise(
    name="ch20.find_the_bug",
    title="Find the bug",
    section="which-bytes-did-you-forget",
    hints=("Three questions: what does one shared value weigh? Are the biases on both sides of the fraction? How many bytes do nine bits take?",
           "A codebook entry is a float32 of four bytes. Biases are in the dense network, so they must be in the file. Each stream ends on a whole byte: round up.",
           "file = header + 4 * biases + sum(-(-c // 8) + -(-g // 8) + 4 * k + t for _, c, g, k, t in layers)"),
    cases=ratio_cases,
    reference=ratio,
    alternatives=(_ra_ceil, _ra_bits, _ra_tensor),
    tolerance=1e-6,
    mistakes=(
        Mistake(_ra(_floor, 1, 0), "all three bugs are still there. Start with the codebook: how many bytes is one float32?"),
        Mistake(_ra(_floor), "one bug is left. Nine bits take two bytes: round each stream up."),
        Mistake(_ra(book=1), "one bug is left. A shared value is a float32: four bytes each."),
        Mistake(_ra(bias=0), "one bug is left. The biases are counted in the dense network and not in the file."),
        Mistake(_ra(_floor, book=1), "the biases are repaired. Two bugs are left: the codebook's bytes, and streams that end inside a byte."),
        Mistake(_ra(_floor, bias=0), "the codebook is repaired. Two bugs are left: the biases, and streams that end inside a byte."),
        Mistake(_ra(book=1, bias=0), "the rounding is repaired. Two bugs are left: the codebook's bytes, and the biases."),
        Mistake(_ra(bias=0, dense_bias=False), "you left the biases out on both sides. The network needs them: count them on both."),
        Mistake(_ra(dense_bias=False), "the biases are in the file now, and gone from the dense network. Count them on both sides."),
        Mistake(_ra(codes=lambda bits: bits / 8), "a stream of nine bits takes two bytes in a file, not one and an eighth. Round each stream up."),
        Mistake(_ra(head=False), "the header is gone from the file. No reader could open it."),
        Mistake(_ra(out=lambda d, f: f / d), "your fraction is upside down: dense over file."),
        Mistake(_ra(gaps=False)),
        Mistake(_ra(tables=False)),
        Mistake(_ra(dense=lambda size: size * 1.024)),
    ),
)

# ---------------------------------------------------------------- the size of a factorization


def svd_size(rows, columns, rank):
    return rank * (rows + columns), (rows * columns - 1) // (rows + columns)


def svd_cases(generator):
    a, b, c = _drawn(generator, 3, 3, 30)
    calls = {"the first layer": (300, 784, 2 * a), "a square": (6, 6, 2), "a thin matrix": (1, 10 + a, 1), "break-even is a whole number": (4 * b, 12 * b, c),
             "any shape": (50 + a, 90 + b, 5 + c), "wide": (10, 400 + b, 9), "the last layer": (10, 100, b // 3)}
    return [Case(name, {"rows": m, "columns": n, "rank": r}) for name, (m, n, r) in calls.items()]


def _sv_loop(rows, columns, rank):
    best = 0
    while (best + 1) * (rows + columns) < rows * columns:
        best += 1
    return rows * rank + rank * columns, best


def _sv_ceil(rows, columns, rank):
    return torch.zeros(rows, rank).numel() + torch.zeros(rank, columns).numel(), math.ceil(rows * columns / (rows + columns)) - 1


def _sv_search(rows, columns, rank):
    return rank * rows + rank * columns, max(r for r in range(min(rows, columns) + 1) if r * rows + r * columns < rows * columns)


def _sv(numbers=lambda m, n, r: r * (m + n), even=lambda m, n: (m * n - 1) // (m + n)):
    return lambda rows, columns, rank: (numbers(rows, columns, rank), even(rows, columns))


SVD_SIZE = Exercise(
    name="ch20.svd_size",
    title="The size of a factorization",
    section="the-rival-low-rank",
    hints=("Draw the two thin matrices and write their sides beside them.",
           "A is rows x rank and B is rank x columns. The break-even rank is the largest r for which r (rows + columns) is still *smaller* than rows * columns; it may be 0.",
           "return rank * (rows + columns), (rows * columns - 1) // (rows + columns)"),
    cases=svd_cases,
    reference=svd_size,
    alternatives=(_sv_loop, _sv_ceil, _sv_search),
    mistakes=(
        Mistake(_sv(lambda m, n, r: r * (m + n) + r), "you stored the singular values as well. Their roots go into A and B, as in the library."),
        Mistake(_sv(lambda m, n, r: r * (m + n) + r * r), "you stored a square matrix between the two. The singular values go into A and B."),
        Mistake(_sv(lambda m, n, r: r * m * n), "you counted the entries of r outer products multiplied out. Store the vectors, not the products."),
        Mistake(_sv(lambda m, n, r: r * max(m, n)), "you counted one of the two thin matrices."),
        Mistake(_sv(even=lambda m, n: m * n // (m + n)), "at this rank the factors may be exactly as large as the matrix. The largest rank that still *saves* is asked for."),
        Mistake(_sv(even=lambda m, n: min(m, n)), "that is the full rank. The factors are larger than the matrix long before it."),
        Mistake(_sv(even=lambda m, n: min(m, n) // 2), "half of the full rank is right for large squares only. Solve r (rows + columns) < rows * columns."),
        Mistake(_sv(even=lambda m, n: m * n / (m + n)), "a rank is a whole number: the largest below rows * columns / (rows + columns)."),
        Mistake(_sv(even=lambda m, n: -(-m * n // (m + n))), "you rounded up: at that rank nothing is saved any more."),
        Mistake(lambda rows, columns, rank: svd_size(rows, columns, rank)[::-1], "the two numbers are in the wrong order: first the numbers stored, then the break-even rank."),
        Mistake(_sv(lambda m, n, r: m + n)),
        Mistake(_sv(even=lambda m, n: (m * n - 1) // (m + n) - 1)),
        Mistake(lambda rows, columns, rank: AnyWrong() if rank > rows else (rank * (rows + columns) + 1, 0)),
    ),
)

EXERCISES = [TABLE_TOTAL, AUDIT, FIND_THE_BUG, SVD_SIZE]
