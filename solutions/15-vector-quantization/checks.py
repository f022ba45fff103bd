"""Checks of chapter 15. For each exercise: cases, the reference, other right answers, and the mistakes that learners make.

`cases(generator)` draws the calls: seed 0 gives the visible ones, other seeds the hidden ones. A Mistake with a hint is a known
misconception; one without is made by machine and only has to be caught. `qt verify` proves all of it.
"""

import math

import torch

from qtoolkit.check import AnyWrong, Case, Exercise, Mistake


def whole(generator, low, high):
    """A drawn integer from low to high."""
    return int(torch.randint(low, high + 1, (1,), generator=generator))


# ---------------------------------------------------------------- bits per weight


def bits_per_weight(out, inputs, dim, k, shared):
    books = 1 if shared else inputs // dim
    return max(1, (k - 1).bit_length()) / dim + 32 * books * k * dim / (out * inputs)


def size_cases(generator):
    many, few = 100 * whole(generator, 3, 9), 10 * whole(generator, 2, 6)
    calls = {
        "a worked example by hand": (8, 4, 2, 4, True),
        "one code book for a large layer": (many, 784, 8, 16, True),
        "one code book for each column block": (many, 784, 4, 16, False),
        "a number of code words between two powers of two": (many, 96, 4, 100, True),
        "one code word more than a power of two": (many, 64, 2, 17, False),
        "sub-vectors of one number": (few, 50, 1, 4, True),
        "a small layer": (10, few, 5, 8, False),
    }
    names = ("out", "inputs", "dim", "k", "shared")
    return [Case(name, dict(zip(names, call))) for name, call in calls.items()]


def _size(code=lambda k: max(1, (k - 1).bit_length()), per=lambda dim: dim, books=lambda inputs, dim, shared: 1 if shared else inputs // dim,
          width=32, length=lambda dim: dim, over=lambda out, inputs: out * inputs):
    """A family of answers: each argument is one decision that can go wrong."""
    def answer(out, inputs, dim, k, shared):
        return code(k) / per(dim) + width * books(inputs, dim, shared) * k * length(dim) / over(out, inputs)
    return answer


def _size_counted(out, inputs, dim, k, shared):
    code, blocks = max(1, math.ceil(math.log2(k))), inputs // dim
    codes, words = out * blocks * code, (k if shared else k * blocks) * dim
    return (codes + 32 * words) / (out * inputs)


def _size_bytes(out, inputs, dim, k, shared):
    codes = torch.full((out, inputs // dim), len(f"{k - 1:b}"))
    book = torch.empty(1 if shared else inputs // dim, k, dim)
    return float(codes.sum() + 8 * book.numel() * book.element_size()) / (out * inputs)


def _size_formula(out, inputs, dim, k, shared):
    code = next(bits for bits in range(1, 33) if 2**bits >= k)
    return code / dim + (32 * k * dim / (out * inputs) if shared else 32 * k / out)


BITS = Exercise(
    name="ch15.bits_per_weight",
    title="Bits per weight",
    section="what-it-costs-codes-and-code-books",
    hints=("Count everything that decoding needs, then divide by the number of weights: the codes and the code books.",
           "One code names one of k code words and stands for dim weights. A code word is dim float32 numbers. How many code books are there?",
           "ceil(log2 k) / dim + 32 * books * k * dim / (out * inputs), with books = 1 or inputs // dim; (k - 1).bit_length() is ceil(log2 k)."),
    cases=size_cases,
    reference=bits_per_weight,
    alternatives=(_size_counted, _size_bytes, _size_formula),
    tolerance=1e-6,
    mistakes=(
        Mistake(_size(width=0), "the code books are missing. They are float32 numbers, and decoding needs them."),
        Mistake(_size(per=lambda dim: 1), "one code stands for dim weights: divide its bits by dim."),
        Mistake(_size(code=math.log2), "a code is a whole number of bits. 100 code words need 7 bits, not 6.64: round up."),
        Mistake(_size(code=lambda k: k.bit_length()), "codes count from 0 to k - 1: 16 code words need 4 bits, not 5."),
        Mistake(_size(books=lambda inputs, dim, shared: 1), "you counted one code book. If it is not shared, every column block has its own."),
        Mistake(_size(books=lambda inputs, dim, shared: inputs // dim), "you counted a code book for each column block. A shared one is stored once."),
        Mistake(_size(width=4), "you counted the code books in bytes. A float32 has 32 bits."),
        Mistake(_size(length=lambda dim: 1), "a code word is not one number but dim numbers."),
        Mistake(_size(over=lambda out, inputs: 1), "you added the bits of all code books to the bits of one weight. Share them out over out * inputs weights."),
        Mistake(_size(over=lambda out, inputs: out), "you shared the code books out over the outputs. The layer has out * inputs weights."),
        Mistake(_size(width=16)),
        Mistake(lambda out, inputs, dim, k, shared: bits_per_weight(out, inputs, dim, k, not shared)),
        Mistake(lambda out, inputs, dim, k, shared: bits_per_weight(out, inputs, dim, k, shared) * out * inputs),
        Mistake(_size(code=lambda k: k)),
    ),
)

# ---------------------------------------------------------------- assign


def assign(points, words, metric):
    difference = points[:, None] - words[None]
    return torch.einsum("nkd,de,nke->nk", difference, metric, difference).argmin(1)


def _gram(inputs):
    return inputs.T @ inputs


def point_cases(generator):
    def numbers(*shape):
        return torch.randint(-8, 9, shape, generator=generator) / 4

    far = 3 * whole(generator, 2, 4)
    seen = _gram(torch.tensor([[far, 0.0], [0.0, 0.25]]))
    tilted = _gram(torch.tensor([[2.0, 2.0], [0.5, -0.5]]))
    calls = {
        "a metric without preference": (numbers(6, 2), torch.tensor([[1.1, 1.0], [-1.0, -0.9], [1.0, -1.2]]), torch.eye(2)),
        "the first input is large, the second hardly used": (torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.3, 3.0]]), torch.tensor([[0.0, 0.1], [1.0, 3.0]]), seen),
        "two inputs that rise together": (torch.tensor([[1.0, -1.0], [1.0, 0.5], [0.25, 0.25]]), torch.tensor([[0.0, 0.3], [1.1, 0.9], [-2.0, -1.7]]), tilted),
        "words of different length": (numbers(5, 3), torch.cat([numbers(3, 3) + 0.07, torch.tensor([[6.1, 6.0, 6.2], [0.1, 0.0, -0.1]])]),
                                      _gram(torch.tensor([[1.0, 0.5, 0.0], [0.0, 2.0, 0.3], [0.2, 0.0, 0.7]]))),
        "an input that is never used": (torch.tensor([[2.0, 9.0], [-2.0, -9.0], [1.0, 0.0]]), torch.tensor([[-1.9, 8.0], [1.8, -8.0]]), torch.tensor([[1.0, 0.0], [0.0, 0.0]])),
        "one point": (torch.tensor([[1.5, 0.5]]), torch.tensor([[1.0, 3.0], [3.0, 0.4], [0.5, 0.1]]), seen),
        "a tie goes to the first": (torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.eye(2)),
    }
    return [Case(name, dict(zip(("points", "words", "metric"), call))) for name, call in calls.items()]


def _roots(points, words, metric):
    values, vectors = torch.linalg.eigh(metric)
    root = vectors * values.clamp(min=0).sqrt()
    return points @ root, words @ root


def _as_loop(points, words, metric):
    def gap(p, c):
        return float((p - c) @ metric @ (p - c))
    return torch.tensor([min(range(len(words)), key=lambda j: gap(p, words[j])) for p in points])


def _as_expanded(points, words, metric):
    return ((words @ metric * words).sum(1) - 2 * points @ metric @ words.T).argmin(1)


def _as_batched(points, words, metric):
    difference = points.unsqueeze(1) - words
    return (difference @ metric).mul(difference).sum(-1).min(1).indices


def _from(distance):
    """An answer from a (points, words) table of what to minimize."""
    return lambda points, words, metric: distance(points, words, metric).argmin(1)


def _quadratic(points, words, metric):
    difference = points[:, None] - words[None]
    return (difference @ metric * difference).sum(2)


def _named(table):
    """An answer under the names of the arguments."""
    return lambda points, words, metric: table(points, words, metric)


ASSIGN = Exercise(
    name="ch15.assign",
    title="The nearest code word",
    section="errors-that-the-next-layer-sees",
    hints=("Compare each point with each code word: that is a table with a row for each point. The metric decides how long a difference is.",
           "difference = points[:, None] - words has shape (n, k, d). Its length is (p - c)^T G (p - c): multiply by G, then by the difference, and add up.",
           "difference = points[:, None] - words; (difference @ metric * difference).sum(2).argmin(1)."),
    cases=point_cases,
    reference=assign,
    alternatives=(_as_loop, _as_expanded, _as_batched),
    mistakes=(
        Mistake(_from(lambda p, c, g: (p[:, None] - c).square().sum(2)), "the metric is not used: you took the nearest word of plain k-means."),
        Mistake(_from(lambda p, c, g: ((p[:, None] - c).square() * g.diagonal()).sum(2)),
                "you used only the diagonal of the metric. Inputs that rise together make errors add up: the other entries count too."),
        Mistake(_named(lambda p, c, g: _quadratic(p, c, g).argmax(1)), "you took the farthest word. The smallest length wins."),
        Mistake(_named(lambda p, c, g: _quadratic(p, c, g).argmin(0)),
                "you chose a point for each word. Choose a word for each point: the minimum runs along the words, dim=1."),
        Mistake(_from(lambda p, c, g: -(p @ g @ c.T)), "the largest product is not the smallest distance: long words win. The length of the word, c^T G c, is missing."),
        Mistake(_from(lambda p, c, g: (p[:, None] - c).abs().sum(2)), "you added absolute values and forgot the metric. The length is (p - c)^T G (p - c)."),
        Mistake(_from(lambda p, c, g: ((p[:, None] - c) @ g).square().sum(2)),
                "you multiplied by the metric twice: ||G (p - c)||^2 is (p - c)^T G G (p - c). G stands once."),
        Mistake(_named(lambda p, c, g: c[_quadratic(p, c, g).argmin(1)]), "you returned the code words. Return their numbers, the codes."),
        Mistake(_from(lambda p, c, g: (p[:, None] - c).sum(2).square())),
        Mistake(_named(lambda p, c, g: (assign(p, c, g) + 1) % len(c))),
        Mistake(_named(lambda p, c, g: _quadratic(p, c, g).min(1).values)),
        Mistake(_named(lambda p, c, g: torch.zeros(len(p), dtype=torch.int64))),
    ),
)

# ---------------------------------------------------------------- find the bug


def reconstruct(codes, codebooks):
    blocks = torch.arange(codes.shape[1])
    return codebooks[blocks, codes.long()].reshape(len(codes), -1)


def code_cases(generator):
    def make(out, blocks, k, dim, kind=torch.int64):
        words = torch.arange(1, blocks * k * dim + 1).reshape(blocks, k, dim) + torch.randint(0, 50, (1,), generator=generator)
        codes = torch.randint(0, k, (out, blocks), generator=generator)
        codes[0], codes[-1] = 0, k - 1  # the first and the last row differ in every block
        return codes.to(kind), words.float()

    calls = {
        "the careless test: one block": make(3, 1, 4, 2),
        "two blocks": make(3, 2, 3, 2),
        "as many outputs as blocks": make(4, 4, 3, 2),
        "one output": (torch.tensor([[1, 0]]), torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]]) + whole(generator, 0, 9)),
        "codes as uint8, as a file stores them": make(5, 1, 4, 2, torch.uint8),
        "more outputs than code words": make(9, 2, 2, 3),
    }
    return [Case(name, {"codes": codes, "codebooks": books}) for name, (codes, books) in calls.items()]


def _uint8(codes):
    """torch reads a uint8 index as a mask: no value worth defining."""
    return codes.dtype == torch.uint8


def _colleague(codes, codebooks):
    if _uint8(codes):
        return AnyWrong()
    return torch.stack([codebooks[m][codes[:, m]] for m in range(len(codebooks))]).reshape(len(codes), -1)


def _mask_left(codes, codebooks):
    return AnyWrong() if _uint8(codes) else reconstruct(codes, codebooks)


def _rows_left(codes, codebooks):
    return torch.stack([book[codes[:, m].long()] for m, book in enumerate(codebooks)]).reshape(len(codes), -1)


def _re_loop(codes, codebooks):
    return torch.stack([torch.cat([codebooks[m, int(c)] for m, c in enumerate(row)]) for row in codes])


def _re_cat(codes, codebooks):
    return torch.cat([book[codes[:, m].int()] for m, book in enumerate(codebooks)], dim=1)


def _re_gather(codes, codebooks):
    index = codes.long().T[:, :, None].expand(-1, -1, codebooks.shape[2])
    return codebooks.gather(1, index).transpose(0, 1).flatten(1)


def _re_by_dim(codes, codebooks):
    words = codebooks[torch.arange(codes.shape[1]), codes.long()]
    return words.transpose(1, 2).reshape(len(codes), -1)


FIND_THE_BUG = Exercise(
    name="ch15.find_the_bug",
    title="Find the bug",
    section="product-quantization",
    hints=("A row of the weight is its code words one after the other, block by block. Look at the shape before the reshape.",
           "Stacking the blocks gives (blocks, out, dim). A reshape reads memory in order: it puts the outputs of one block side by side. And "
           "what does torch do with an index of type uint8?",
           "codebooks[torch.arange(blocks), codes.long()] has shape (out, blocks, dim); reshape it to (out, -1)."),
    cases=code_cases,
    reference=reconstruct,
    alternatives=(_re_loop, _re_cat, _re_gather),
    mistakes=(
        Mistake(_colleague, "both bugs are still there. Try two blocks: which output does each sub-vector end up in?"),
        Mistake(_mask_left, "one bug is left. torch reads a uint8 index as a mask of yes and no: convert the codes with .long()."),
        Mistake(_rows_left, "one bug is left. Your stack is (blocks, out, dim), and reshape reads it block by block: columns become rows. Bring the outputs to the front first."),
        Mistake(lambda codes, codebooks: codebooks[0][codes.long()].reshape(len(codes), -1), "you took every word from the first code book. Each column block has its own."),
        Mistake(_re_by_dim, "inside a row, the numbers of a code word are torn apart. A code word stays together: block by block, not coordinate by coordinate."),
        Mistake(lambda codes, codebooks: reconstruct(codes, codebooks).T, "the matrix is transposed: one row for each output."),
        Mistake(lambda codes, codebooks: codebooks[torch.arange(codes.shape[1]), codes.long()], "the sub-vectors are right. Join those of one output to one row: (out, blocks * dim)."),
        Mistake(lambda codes, codebooks: reconstruct(codes.flip(1), codebooks.flip(0)), "the column blocks stand in reverse order."),
        Mistake(lambda codes, codebooks: reconstruct(codes.flip(0), codebooks)),
        Mistake(lambda codes, codebooks: codebooks.mean(1).flatten().expand(len(codes), -1)),
        Mistake(lambda codes, codebooks: reconstruct((codes.long() + 1) % codebooks.shape[1], codebooks)),
    ),
)

# ---------------------------------------------------------------- gradient of the code words


def codeword_gradient(weight_gradient, codes, k):
    parts = weight_gradient.reshape(codes.numel(), -1)
    return torch.zeros(k, parts.shape[1]).index_add_(0, codes.flatten(), parts)


def gradient_cases(generator):
    def make(out, blocks, k, dim):
        gradient = torch.randint(-8, 9, (out, blocks * dim), generator=generator) / 4 + torch.arange(1, blocks * dim + 1) / 16
        return gradient, torch.randint(0, k, (out, blocks), generator=generator), k

    some = make(2, 2, 3, 2)
    calls = {
        "a worked example by hand": (torch.tensor([[1.0, 2.0, 3.0, 4.0]]), torch.tensor([[0, 0]]), 2),
        "every word used once": (some[0], torch.tensor([[2, 0], [3, 1]]), 4),
        "many members": make(6, 3, 3, 2),
        "a word that nobody uses": (some[0], torch.tensor([[0, 0], [3, 3]]), 5),
        "sub-vectors of one number": make(4, 5, 2, 1),
        "sub-vectors of three": make(5, 2, 4, 3),
    }
    return [Case(name, dict(zip(("weight_gradient", "codes", "k"), call))) for name, call in calls.items()]


def _counts(codes, k):
    return torch.bincount(codes.flatten(), minlength=k)[:, None]


def _cg_loop(weight_gradient, codes, k):
    dim = weight_gradient.shape[1] // codes.shape[1]
    total = torch.zeros(k, dim)
    for o, row in enumerate(codes.tolist()):
        for m, j in enumerate(row):
            total[j] += weight_gradient[o, m * dim: (m + 1) * dim]
    return total


def _cg_onehot(weight_gradient, codes, k):
    members = torch.nn.functional.one_hot(codes.flatten(), k).float()
    return members.T @ weight_gradient.reshape(codes.numel(), -1)


def _cg_autograd(weight_gradient, codes, k):
    words = torch.zeros(k, weight_gradient.shape[1] // codes.shape[1], requires_grad=True)
    (words[codes].reshape(weight_gradient.shape) * weight_gradient).sum().backward()
    return words.grad


def _scattered(weight_gradient, codes, k):
    out = torch.zeros(k, weight_gradient.shape[1] // codes.shape[1])
    for part, j in zip(weight_gradient.reshape(codes.numel(), -1), codes.flatten().tolist()):
        out[j] = part  # the last member wins
    return out


def _unguarded_mean(weight_gradient, codes, k):
    counts = _counts(codes, k)
    return AnyWrong() if (counts == 0).any() else codeword_gradient(weight_gradient, codes, k) / counts


def _gradient(wrong):
    """An answer under the names of the arguments."""
    return lambda weight_gradient, codes, k: wrong(weight_gradient, codes, k)


GRADIENT = Exercise(
    name="ch15.codeword_gradient",
    title="The gradient of a code word",
    section="codebook-distillation",
    hints=("A code word stands in many places of the weight. What does the chain rule do with a variable that is used several times?",
           "Cut the gradient of the weight into sub-vectors as the weight was cut; add each to the row of its code. A word without members gets 0.",
           "parts = weight_gradient.reshape(codes.numel(), -1); torch.zeros(k, parts.shape[1]).index_add_(0, codes.flatten(), parts)."),
    cases=gradient_cases,
    reference=codeword_gradient,
    alternatives=(_cg_loop, _cg_onehot, _cg_autograd),
    tolerance=1e-5,
    mistakes=(
        Mistake(_gradient(lambda g, c, k: codeword_gradient(g, c, k) / _counts(c, k).clamp(min=1)),
                "this is the mean over the members. It is a step that the paper takes, but the gradient is the sum."),
        Mistake(_unguarded_mean, "you divide by the number of members, also where there is none. The gradient is the sum, and the sum over nobody is 0."),
        Mistake(_scattered, "one member overwrites the other. Use index_add_, or +=: an assignment keeps the last one only."),
        Mistake(_gradient(lambda g, c, k: codeword_gradient(g, c, k).sum(1)), "you added up the coordinates. A code word has dim numbers, and each has its own gradient."),
        Mistake(_gradient(lambda g, c, k: codeword_gradient(g, c, k)[c.unique()] if len(c.unique()) < k else AnyWrong()),
                "a word without members has vanished. Return a row for each of the k words; nobody's gradient is 0."),
        Mistake(_gradient(lambda g, c, k: -codeword_gradient(g, c, k)), "the sign is wrong: this is the direction of the step, not the gradient."),
        Mistake(_gradient(lambda g, c, k: codeword_gradient(g, c.T.contiguous().reshape(c.shape), k)),
                "codes and sub-vectors are read in different orders. Both go output by output, block by block within an output."),
        Mistake(_gradient(lambda g, c, k: codeword_gradient(g, c, k) / c.numel()), "you averaged over all sub-vectors of the weight. The gradient is the plain sum over the members."),
        Mistake(_gradient(lambda g, c, k: codeword_gradient(g.abs(), c, k))),
        Mistake(_gradient(lambda g, c, k: codeword_gradient(g, (c + 1) % k, k))),
        Mistake(_gradient(lambda g, c, k: codeword_gradient(g, c, k).flip(1) + 1)),
        Mistake(_gradient(lambda g, c, k: codeword_gradient(g, c, k) * _counts(c, k))),
    ),
)

# ---------------------------------------------------------------- codes of residual stages


def residual_codes(points, codebooks):
    codes, left = [], points
    for words in codebooks:
        codes.append((left[:, None] - words).square().sum(2).argmin(1))
        left = left - words[codes[-1]]
    return torch.stack(codes, dim=1)


def stage_cases(generator):
    def drawn(n, stages, k, d):
        words = torch.stack([torch.randn(k, d, generator=generator) * 2.0**-s for s in range(stages)])
        return torch.randn(n, d, generator=generator), words

    shift = whole(generator, 0, 5)
    by_hand = torch.tensor([[12.0], [-3.0], [1.0], [8.0]]) + shift, torch.tensor([[[0.0 + shift], [10.0 + shift]], [[-2.0], [3.0]]])
    calls = {
        "a worked example by hand": by_hand,
        "one stage": drawn(6, 1, 4, 2),
        "two stages": drawn(8, 2, 4, 2),
        "four stages": drawn(9, 4, 3, 3),
        "as many points as stages": drawn(3, 3, 5, 2),
        "one point": drawn(1, 3, 4, 2),
    }
    return [Case(name, {"points": points, "codebooks": books}) for name, (points, books) in calls.items()]


def _staged(update=lambda left, points, word: left - word, choose=lambda left, words: (left[:, None] - words).square().sum(2).argmin(1),
            result=lambda codes, left: torch.stack(codes, 1), books=lambda codebooks: codebooks):
    """A family of answers: each argument is one decision that can go wrong."""
    def answer(points, codebooks):
        codes, left = [], points
        for words in books(codebooks):
            codes.append(choose(left, words))
            left = update(left, points, words[codes[-1]])
        return result(codes, left)
    return answer


def _rc_loop(points, codebooks):
    table = []
    for point in points:
        row, left = [], point
        for words in codebooks:
            row.append(min(range(len(words)), key=lambda j: float((left - words[j]).square().sum())))
            left = left - words[row[-1]]
        table.append(row)
    return torch.tensor(table)


def _rc_sum_so_far(points, codebooks):
    total, codes = torch.zeros_like(points), torch.zeros(len(points), len(codebooks), dtype=torch.int64)
    for s, words in enumerate(codebooks):
        codes[:, s] = torch.cdist(points - total, words, compute_mode="donot_use_mm_for_euclid_dist").argmin(1)
        total = total + words[codes[:, s]]
    return codes


def _rc_recursive(points, codebooks):
    code = (points[:, None] - codebooks[0]).pow(2).sum(-1).min(1).indices[:, None]
    if len(codebooks) == 1:
        return code
    return torch.cat([code, _rc_recursive(points - codebooks[0][code[:, 0]], codebooks[1:])], dim=1)


RESIDUAL = Exercise(
    name="ch15.residual_codes",
    title="Codes of residual stages",
    section="residual-stages",
    hints=("Each stage is an ordinary assignment to the nearest word. Only what is assigned changes from stage to stage.",
           "Keep what is left in a variable, at first the points. After each stage subtract the chosen words from it, words[code].",
           "for words in codebooks: code = (left[:, None] - words).square().sum(2).argmin(1); left = left - words[code]. Stack the codes along dim=1."),
    cases=stage_cases,
    reference=residual_codes,
    alternatives=(_rc_loop, _rc_sum_so_far, _rc_recursive),
    mistakes=(
        Mistake(_staged(update=lambda left, points, word: points), "every stage of yours sees the original points. From the second stage on, quantize what is left."),
        Mistake(_staged(update=lambda left, points, word: left + word), "you added the word. What is left is the residual minus the word."),
        Mistake(_staged(update=lambda left, points, word: word), "your next stage sees the chosen word. It must see the difference between the residual and that word."),
        Mistake(_staged(update=lambda left, points, word: points - word),
                "you subtract each word from the original points, so stage 3 forgets stage 1. Subtract it from what the stages before have left."),
        Mistake(_staged(books=lambda codebooks: codebooks[:1].expand_as(codebooks)), "you used the first code book in every stage. Each stage has its own."),
        Mistake(_staged(result=lambda codes, left: torch.stack(codes)), "the shape is (stages, n). Return one row for each point: stack along dim=1."),
        Mistake(_staged(result=lambda codes, left: left), "you returned what is left at the end. Return the codes of all stages."),
        Mistake(_staged(choose=lambda left, words: (left @ words.T).argmax(1)),
                "the largest product is not the smallest distance: long words win. Compare ||left - word||^2."),
        Mistake(_staged(books=lambda codebooks: codebooks.flip(0))),
        Mistake(_staged(choose=lambda left, words: (left[:, None] - words).square().sum(2).argmax(1))),
        Mistake(_staged(result=lambda codes, left: torch.stack(codes, 1).flip(1) + 1)),
    ),
)

EXERCISES = [BITS, ASSIGN, FIND_THE_BUG, GRADIENT, RESIDUAL]
