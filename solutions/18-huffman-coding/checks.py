"""Checks of chapter 18: bits and their floor, canonical codewords, a decoder with bugs."""

import heapq
import math

import torch

from qtoolkit.check import AnyWrong, Case, Exercise, Mistake


def _counts(generator, size, low, high):
    return torch.randint(low, high + 1, (size,), generator=generator).tolist()


# ---------------------------------------------------------------- bits and their floor


def _entropy_bits(frequencies, log=math.log2):
    total = sum(frequencies)
    return -sum(f * log(f / total) for f in frequencies if f)


def huffman_bits(frequencies):
    heap = [f for f in frequencies if f]
    floor = _entropy_bits(heap)
    if len(heap) == 1:
        return heap[0], floor + 0.0
    heapq.heapify(heap)
    bits = 0
    while len(heap) > 1:
        pair = heapq.heappop(heap) + heapq.heappop(heap)
        bits += pair
        heapq.heappush(heap, pair)
    return bits, floor


def frequency_cases(generator):
    small = _counts(generator, 1, 3, 9)[0]
    calls = {
        "powers of two": [4 * small, 2 * small, small, small],
        "three symbols": sorted(_counts(generator, 3, 2, 40)),
        "a symbol that never occurs": [7 + small, 0, 3, 0, 2 * small + 1],
        "one symbol only": [0, 10 + small],
        "eight equal symbols": [small] * 8,
        "one symbol dominates": [900 + small, 5, 3, 1, 1],
        "growing like Fibonacci's numbers": [1, 1, 2, 3, 5, 8, 13, 21 + small],
        "many symbols, not in order": _counts(generator, 14, 1, 200),
    }
    return [Case(name, {"frequencies": frequencies}) for name, frequencies in calls.items()]


def _hb_sorted_list(frequencies):
    left = sorted(f for f in frequencies if f > 0)
    total = sum(left)
    floor = total * math.log2(total) - sum(f * math.log2(f) for f in left)
    bits = left[0] if len(left) == 1 else 0
    while len(left) > 1:
        a, b, *left = left
        bits += a + b
        left = sorted([*left, a + b])
    return bits, floor


def _hb_depths(frequencies):
    nodes = [(f, [i]) for i, f in enumerate(frequencies) if f]
    depth = [0] * len(frequencies)
    if len(nodes) == 1:
        depth[nodes[0][1][0]] = 1
    while len(nodes) > 1:
        nodes.sort(key=lambda node: node[0])
        (a, left), (b, right) = nodes[:2]
        for i in left + right:
            depth[i] += 1
        nodes = [*nodes[2:], (a + b, left + right)]
    return sum(f * d for f, d in zip(frequencies, depth, strict=True)), _entropy_bits(frequencies)


def _hb_tensor(frequencies):
    x = torch.tensor([f for f in frequencies if f], dtype=torch.float64)
    p = x / x.sum()
    floor = float(x.sum() * -(p * p.log2()).sum())
    values, bits = x.tolist(), x.tolist()[0] if len(x) == 1 else 0
    while len(values) > 1:
        values.sort(reverse=True)
        a = values.pop() + values.pop()
        bits, values = bits + a, [*values, a]
    return int(bits), floor


def _hb(bits=lambda f: huffman_bits(f)[0], floor=lambda f: huffman_bits(f)[1]):
    return lambda frequencies: (bits(frequencies), floor(frequencies))


def _fixed(frequencies):
    used = [f for f in frequencies if f]
    return sum(used) * max(1, math.ceil(math.log2(len(used))))


def _ceil_surprise(frequencies):
    total = sum(frequencies)
    return sum(f * max(1, math.ceil(math.log2(total / f))) for f in frequencies if f)


def _chain(frequencies):
    """The merged node is tied to the next symbol each time, without looking for the lightest two."""
    left = sorted(f for f in frequencies if f)
    bits, node = (left[0], 0) if len(left) == 1 else (0, left[0])
    for f in left[1:]:
        node += f
        bits += node
    return bits


def _with_zeros(frequencies):
    nodes = list(frequencies)
    heapq.heapify(nodes)
    bits = 0
    while len(nodes) > 1:
        pair = heapq.heappop(nodes) + heapq.heappop(nodes)
        bits += pair
        heapq.heappush(nodes, pair)
    return bits


def _no_lone_symbol(frequencies):
    return 0 if sum(f > 0 for f in frequencies) == 1 else huffman_bits(frequencies)[0]


def _heaviest_first(frequencies):
    left = [f for f in frequencies if f]
    bits = left[0] if len(left) == 1 else 0
    while len(left) > 1:
        left.sort()
        pair = left.pop() + left.pop()
        bits, left = bits + pair, [*left, pair]
    return bits


HUFFMAN_BITS = Exercise(
    name="ch18.huffman_bits",
    title="Bits and their floor",
    section="prefix-codes-and-the-tree",
    hints=("You need no codewords. Each merge puts one bit on every symbol below it: what does one merge of weight w cost?",
           "Leave out zeros. While more than one weight is left, take the two smallest, put back their sum and add the sum to the bits. "
           "One lone symbol takes one bit each time. The floor is -sum f log2(f / n).",
           "heapq.heapify(left); pair = heapq.heappop(left) + heapq.heappop(left); bits += pair; heapq.heappush(left, pair)."),
    cases=frequency_cases,
    reference=huffman_bits,
    alternatives=(_hb_sorted_list, _hb_depths, _hb_tensor),
    tolerance=1e-6,
    mistakes=(
        Mistake(_hb(bits=_fixed), "these are the bits of a fixed width. Huffman gives frequent symbols shorter codewords."),
        Mistake(_hb(bits=_ceil_surprise),
                "you rounded each surprise up to whole bits. That is a prefix code (Shannon's), but not the best: merge the two lightest instead."),
        Mistake(_hb(bits=_chain), "you tie each merged node to the next symbol. After every merge look again for the two lightest of all nodes."),
        Mistake(_hb(bits=_with_zeros), "you gave codewords to symbols that never occur, or none to a lone symbol. Leave out frequencies of 0 first."),
        Mistake(_hb(bits=_no_lone_symbol), "a lone symbol needs one bit each time: an empty codeword cannot be counted."),
        Mistake(_hb(bits=_heaviest_first), "you merged the two heaviest nodes. The rarest symbols belong deepest: merge the two lightest."),
        Mistake(_hb(floor=lambda f: _entropy_bits(f, math.log)), "your entropy is in nats: take the logarithm to base 2.", "entropy-the-floor"),
        Mistake(_hb(floor=lambda f: _entropy_bits(f) / sum(f)),
                "your floor is bits a symbol. The question is the total: multiply by the number of symbols.", "entropy-the-floor"),
        Mistake(_hb(bits=lambda f: huffman_bits(f)[0] / sum(f)), "your first number is the mean length. The question is the total number of bits."),
        Mistake(_hb(floor=lambda f: -_entropy_bits(f)), "the sign of your floor is wrong: logarithms of probabilities are negative, bits are not.",
                "entropy-the-floor"),
        Mistake(lambda frequencies: huffman_bits(frequencies)[::-1], "the two numbers are in the wrong order: first Huffman's bits, then the floor."),
        Mistake(_hb(bits=sum)),
        Mistake(_hb(bits=lambda f: huffman_bits(f)[0] + 1)),
        Mistake(_hb(floor=lambda f: math.ceil(_entropy_bits(f)) + 1.0)),
    ),
)

# ---------------------------------------------------------------- canonical codewords


def canonical(lengths):
    words, at = [""] * len(lengths), 0
    longest = max(lengths)
    for length, symbol in sorted((n, s) for s, n in enumerate(lengths) if n):
        words[symbol] = f"{at >> (longest - length):0{length}b}"
        at += 1 << (longest - length)
    return words


def _mixed(generator, values):
    return [values[i] for i in torch.randperm(len(values), generator=generator).tolist()]


def _complete(generator, symbols):
    """Lengths of a complete code, grown by splitting leaves at random."""
    lengths = [1, 1]
    while len(lengths) < symbols:
        split = lengths.pop(int(torch.randint(0, len(lengths), (1,), generator=generator)))
        lengths += [split + 1, split + 1]
    return _mixed(generator, lengths)


def length_cases(generator):
    zeros = _counts(generator, 1, 1, 9)[0]
    calls = {
        "the chapter's four symbols": [2, 1, 3, 3],
        "all of equal length": [2, 2, 2, 2],
        "the shortest comes last": sorted(_complete(generator, 7), reverse=True),
        "unused symbols": _mixed(generator, [0, 0, *_complete(generator, 6)]),
        "a jump of two bits": _mixed(generator, [2, 2, 2, 4, 4, 4, 4]),
        "longer codes in any order": _mixed(generator, [2, 2, 3, 3, 4, 4, 4, 5, 5]),
        "many symbols": _complete(generator, 14),
        "one symbol only": [0] * zeros + [1],
    }
    return [Case(name, {"lengths": lengths}) for name, lengths in calls.items()]


def _cn_counting(lengths):
    words, code, previous = [""] * len(lengths), 0, 0
    for symbol in sorted((s for s in range(len(lengths)) if lengths[s]), key=lambda s: (lengths[s], s)):
        code <<= lengths[symbol] - previous
        words[symbol], previous, code = format(code, f"0{lengths[symbol]}b"), lengths[symbol], code + 1
    return words


def _cn_rfc1951(lengths):
    longest = max(lengths)
    following, code = {}, 0
    for n in range(1, longest + 1):
        code = (code + (sum(m == n - 1 for m in lengths) if n > 1 else 0)) << 1
        following[n] = code
    words = []
    for n in lengths:
        words.append(format(following[n], "b").zfill(n) if n else "")
        if n:
            following[n] += 1
    return words


def _cn_fractions(lengths):
    words = []
    for symbol, length in enumerate(lengths):
        before = sum(2.0**-n for s, n in enumerate(lengths) if n and (n, s) < (length, symbol))
        words.append(f"{int(before * 2**length):0{length}b}" if length else "")
    return words


def _cn(key=lambda n, s: (n, s), shift=lambda code, by: code << by, step=1, show=lambda code, n: format(code, f"0{n}b"), used=lambda n: n > 0):
    """A family of answers: each argument is one decision that can go wrong."""
    def answer(lengths):
        words, code, previous = [""] * len(lengths), 0, 0
        for s in sorted((s for s, n in enumerate(lengths) if used(n)), key=lambda s: key(lengths[s], s)):
            by = lengths[s] - previous
            code = shift(code, by) if by >= 0 else code >> -by
            words[s], previous, code = show(code, lengths[s]), lengths[s], code + step
        return words
    return answer


def _flip(words):
    return [word.translate(str.maketrans("01", "10")) for word in words]


CANONICAL = Exercise(
    name="ch18.canonical",
    title="Canonical codewords",
    section="only-the-lengths-are-stored",
    hints=("Codewords count upwards like an odometer. The order in which they are given out is what makes them canonical.",
           "Sort the symbols by (length, number), without those of length 0. Start at 0; after each codeword add 1; before a longer one append as many 0 bits "
           "as it is longer. Write leading zeros.",
           "code <<= lengths[s] - previous; words[s] = format(code, f'0{lengths[s]}b'); code += 1; previous = lengths[s]."),
    cases=length_cases,
    reference=canonical,
    alternatives=(_cn_counting, _cn_rfc1951, _cn_fractions),
    mistakes=(
        Mistake(_cn(key=lambda n, s: s), "you gave out codewords in the order of the symbols. Sort by length first, then by symbol."),
        Mistake(_cn(key=lambda n, s: (-n, s)), "you began with the longest codewords. Canonical codes begin with the shortest."),
        Mistake(_cn(key=lambda n, s: (n, -s)), "among equal lengths you took the larger symbol first. The smaller number comes first."),
        Mistake(_cn(shift=lambda code, by: code),
                "you never append a 0 when the codewords become longer, so that one is the beginning of another. Shift left by the difference of the lengths."),
        Mistake(_cn(shift=lambda code, by: code << (by > 0)),
                "you append one 0 whenever the length grows. If it grows by two, append two."),
        Mistake(_cn(show=lambda code, n: format(code, "b")), "your codewords lost their leading zeros: write each with as many bits as its length."),
        Mistake(_cn(show=lambda code, n: format(code, f"0{n}b")[::-1]), "your codewords are written backwards: the first bit is the highest."),
        Mistake(lambda lengths: _flip(canonical(lengths)), "you count downwards from all ones. Canonical codewords count upwards from all zeros."),
        Mistake(_cn(used=lambda n: n >= 0, show=lambda code, n: format(code, f"0{n}b")),
                "you gave a codeword to a symbol of length 0. It is not in use: leave it empty and do not count it."),
        Mistake(lambda lengths: [w for w in canonical(lengths) if w], "you left out unused symbols: the list has one entry for each symbol, '' for an unused one."),
        Mistake(_cn(step=0)),
        Mistake(lambda lengths: [w[:-1] for w in canonical(lengths)]),
        Mistake(lambda lengths: canonical(lengths)[::-1]),
    ),
)

# ---------------------------------------------------------------- find the bug


def decoded(data, words, count):
    bits = "".join(f"{byte:08b}"[::-1] for byte in data)
    symbol_of, symbols, word = {w: s for s, w in enumerate(words) if w}, [], ""
    for bit in bits:
        if len(symbols) == count:
            break
        word += bit
        if word in symbol_of:
            symbols.append(symbol_of[word])
            word = ""
    return symbols


def _packed(symbols, words):
    bits = "".join(words[s] for s in symbols)
    return [int(bits[i : i + 8].ljust(8, "0")[::-1], 2) for i in range(0, len(bits), 8)]


def stream_cases(generator):
    def drawn(words, count):
        used = [s for s, w in enumerate(words) if w]
        return [used[i] for i in torch.randint(0, len(used), (count,), generator=generator).tolist()], words

    two, four, fixed = ["0", "1"], canonical([2, 1, 3, 3]), ["00", "01", "10", "11"]
    padded = drawn(four, 9)[0]
    while sum(len(four[s]) for s in padded) % 8 != 3:
        padded.append(1)
    calls = {
        "the colleague's example": ([0, 1, 1, 0, 0, 1, 1, 0], two),
        "the lowest bit comes first": ([1, *drawn(two, 14)[0], 0], two),
        "codewords that begin with 0": ([3, 0, 1, *drawn(fixed, 9)[0]], fixed),
        "padding that looks like symbols": (padded, four),
        "an unused symbol": drawn(canonical([2, 0, 1, 2]), 9),
        "a longer stream": drawn(canonical([3, 3, 2, 4, 4, 3, 2]), 25),
        "nothing at all": ([], four),
    }
    return [Case(name, {"data": _packed(symbols, words), "words": words, "count": len(symbols)}) for name, (symbols, words) in calls.items()]


def _dec(order=lambda bits: bits[::-1], by_word=True, stop=True, repair=lambda symbols, count: symbols):
    """The colleague's function, some of its three bugs repaired."""
    def answer(data, words, count):
        bits = "".join(order(f"{byte:08b}") for byte in data)
        key = (lambda word: word) if by_word else (lambda word: int(word, 2))
        symbol_of, symbols, word = {key(w): s for s, w in enumerate(words) if w}, [], ""
        for bit in bits:
            if stop and len(symbols) == count:
                break
            word += bit
            if key(word) in symbol_of:
                symbols.append(symbol_of[key(word)])
                word = ""
        return repair(symbols, count)
    return answer


def _as_is(bits):
    return bits


def _fd_positions(data, words, count):
    bits = [byte >> i & 1 for byte in data for i in range(8)]
    out, at = [], 0
    while len(out) < count:
        length = next(n for n in range(1, 16) if "".join(map(str, bits[at : at + n])) in words)
        out.append(words.index("".join(map(str, bits[at : at + length]))))
        at += length
    return out


def _fd_startswith(data, words, count):
    rest, out = "".join(format(byte, "08b")[::-1] for byte in data), []
    for _ in range(count):
        symbol = next(s for s, word in enumerate(words) if word and rest.startswith(word))
        out.append(symbol)
        rest = rest[len(words[symbol]) :]
    return out


def _fd_tree(data, words, count):
    tree = {}
    for symbol, word in enumerate(words):
        node = tree
        for bit in word:
            node = node.setdefault(int(bit), {})
        if word:
            node["symbol"] = symbol
    out, node, number = [], tree, int.from_bytes(bytes(data), "little")
    while len(out) < count:
        node, number = node[number & 1], number >> 1
        if "symbol" in node:
            out.append(node["symbol"])
            node = tree
    return out


def _all_reversed(data, words, count):
    return decoded([int(f"{byte:08b}"[::-1], 2) for byte in data[::-1]], words, count)


FIND_THE_BUG = Exercise(
    name="ch18.find_the_bug",
    title="Find the bug",
    section="encoding-and-decoding",
    hints=("Three questions: in which order do the bits leave a byte? Are 0 and 00 the same codeword? How does the decoder know that it is done?",
           "Bits fill a byte from bit 0 upwards. A codeword is a string: as a number it loses its leading zeros. The last byte is padded with 0 bits, "
           "which may look like a codeword.",
           'bits = "".join(f"{byte:08b}"[::-1] for byte in data); keep a dictionary from word to symbol; stop when count symbols are there.'),
    cases=stream_cases,
    reference=decoded,
    alternatives=(_fd_positions, _fd_startswith, _fd_tree),
    mistakes=(
        Mistake(_dec(order=_as_is, by_word=False, stop=False), "all three bugs are still there. Start with one byte: which of its bits is the first?"),
        Mistake(_dec(order=_as_is), "one bug is left. Bits fill a byte from bit 0 upwards: read the lowest bit first."),
        Mistake(_dec(by_word=False), "one bug is left. As numbers 0 and 00 are equal: compare codewords as strings, with their length."),
        Mistake(_dec(stop=False), "one bug is left. Padding was decoded as symbols: stop after count of them."),
        Mistake(_dec(order=_as_is, by_word=False), "the end is repaired. Two bugs are left: the order of bits in a byte, and leading zeros."),
        Mistake(_dec(order=_as_is, stop=False), "the codewords are repaired. Two bugs are left: the order of bits in a byte, and the padding."),
        Mistake(_dec(by_word=False, stop=False), "the order of bits is repaired. Two bugs are left: leading zeros, and the padding."),
        Mistake(_all_reversed, "you reversed the order of the bytes and not of the bits in each byte."),
        Mistake(_dec(repair=lambda symbols, count: symbols[: count - 1]), "you stop one symbol too early."),
        Mistake(lambda data, words, count: [words[s] for s in decoded(data, words, count)], "you returned codewords. Return the symbols, their places in words."),
        Mistake(_dec(repair=lambda symbols, count: symbols[::-1])),
        Mistake(_dec(repair=lambda symbols, count: [s + 1 for s in symbols] or [1])),
        Mistake(lambda data, words, count: sorted(decoded(data, words, count)) if count else AnyWrong()),
    ),
)

EXERCISES = [HUFFMAN_BITS, CANONICAL, FIND_THE_BUG]
