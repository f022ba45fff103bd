"""The published numbers of Deep Compression, tables 1 to 9, and the arithmetic that checks them against each other.

Percentages, bits, microseconds and watts are as printed in arXiv 1510.00149v5. `weights` of a layer is the exact count, where the tables round
it (235,200 is printed as 235K). Nothing here was measured by this course.

Source: Han, Mao and Dally 2016.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A row of tables 2 to 5: weights, kept (%), bits of a weight and of an index before and after Huffman coding, size left (%)."""

    layer: str
    weights: int
    kept: float
    weight_bits: float
    weight_bits_huffman: float
    index_bits: float
    index_bits_huffman: float
    percent_pq: float
    percent_pqh: float

    def streams_percent(self, huffman: bool = False) -> float:
        """What the row's own densities and bits make: kept (weight bits + index bits) / 32, in percent; no fillers, no codebook.

        >>> round(LENET_300_100.rows[0].streams_percent(), 2)
        2.75
        """
        bits = (self.weight_bits_huffman + self.index_bits_huffman) if huffman else (self.weight_bits + self.index_bits)
        return self.kept * bits / 32

    def codebook_percent(self) -> float:
        """2^bits shared values of 32 bits, in percent of the layer's dense size.

        >>> round(LENET_5.rows[0].codebook_percent(), 1)
        51.2
        """
        return 100 * 2**self.weight_bits / self.weights


@dataclass(frozen=True)
class Network:
    """A table of the paper: its rows, the printed totals, and its line in table 1 (errors in percent, sizes in kilobytes)."""

    name: str
    table: int
    rows: tuple[Row, ...]
    total: Row
    ratio_pq: int
    ratio_pqh: int
    errors: tuple[float, float]
    kilobytes: tuple[float, float]

    def percent_from_rows(self, huffman: bool = True) -> float:
        """Size left, from the rows: sum of weights times percent, over the sum of weights.

        >>> round(LENET_5.percent_from_rows(), 2)
        2.73
        """
        sizes = sum(row.weights * (row.percent_pqh if huffman else row.percent_pq) for row in self.rows)
        return sizes / sum(row.weights for row in self.rows)

    def kept_from_rows(self) -> float:
        """Weights kept in percent, from the rows."""
        return sum(row.weights * row.kept for row in self.rows) / sum(row.weights for row in self.rows)

    def bits_from_rows(self, huffman: bool = True) -> float:
        """Mean bits of a kept weight, from the rows."""
        kept = [row.weights * row.kept for row in self.rows]
        bits = [row.weight_bits_huffman if huffman else row.weight_bits for row in self.rows]
        return sum(k * b for k, b in zip(kept, bits, strict=True)) / sum(kept)

    def impossible(self) -> dict[str, str]:
        """Printed weight bits that cannot be means of an optimal code: above the fixed width, or a total outside its rows."""
        found = {row.layer: f"{row.weight_bits_huffman} bits where {row.weight_bits} would do without Huffman coding"
                 for row in self.rows if row.weight_bits_huffman > row.weight_bits}
        low, high = (bound(row.weight_bits_huffman for row in self.rows) for bound in (min, max))
        if not low <= self.total.weight_bits_huffman <= high:
            found["total"] = f"{self.total.weight_bits_huffman} bits, though every row has {low} to {high}"
        return found


def _rows(text: str) -> tuple[Row, ...]:
    lines = (line.split() for line in text.strip().splitlines())
    return tuple(Row(name, int(weights), *map(float, rest)) for name, weights, *rest in lines)


def _network(name: str, table: int, text: str, ratios: tuple[int, int], errors: tuple[float, float], kilobytes: tuple[float, float]) -> Network:
    *rows, total = _rows(text)
    return Network(name, table, tuple(rows), total, *ratios, errors, kilobytes)


LENET_300_100 = _network("LeNet-300-100", 2, """
ip1 235200 8 6 4.4 5 3.7 3.1 2.32
ip2 30000 9 6 4.4 5 4.3 3.8 3.04
ip3 1000 26 6 4.3 5 3.2 15.7 12.70
total 266200 8 6 5.1 5 3.7 3.1 2.49
""", (32, 40), (1.64, 1.58), (1070, 27))

LENET_5 = _network("LeNet-5", 3, """
conv1 500 66 8 7.2 5 1.5 78.5 67.45
conv2 25000 12 8 7.2 5 3.9 6.0 5.28
ip1 400000 8 5 4.5 5 4.5 2.7 2.45
ip2 5000 19 5 5.2 5 3.7 6.9 6.13
total 430500 8 5.3 4.1 5 4.4 3.05 2.55
""", (33, 39), (0.80, 0.74), (1720, 44))

ALEXNET = _network("AlexNet", 4, """
conv1 34848 84 8 6.3 4 1.2 32.6 20.53
conv2 307200 38 8 5.5 4 2.3 14.5 9.43
conv3 884736 35 8 5.1 4 2.6 13.1 8.44
conv4 663552 37 8 5.2 4 2.5 14.1 9.11
conv5 442368 37 8 5.6 4 2.5 14.0 9.43
fc6 37748736 9 5 3.9 4 3.2 3.0 2.39
fc7 16777216 9 5 3.6 4 3.7 3.0 2.46
fc8 4096000 25 5 4 4 3.2 7.3 5.85
total 60954656 11 5.4 4 4 3.2 3.7 2.88
""", (27, 35), (42.78, 42.78), (240_000, 6_900))

VGG_16 = _network("VGG-16", 5, """
conv1_1 1728 58 8 6.8 5 1.7 40.0 29.97
conv1_2 36864 22 8 6.5 5 2.6 9.8 6.99
conv2_1 73728 34 8 5.6 5 2.4 14.3 8.91
conv2_2 147456 36 8 5.9 5 2.3 14.7 9.31
conv3_1 294912 53 8 4.8 5 1.8 21.7 11.15
conv3_2 589824 24 8 4.6 5 2.9 9.7 5.67
conv3_3 589824 42 8 4.6 5 2.2 17.0 8.96
conv4_1 1179648 32 8 4.6 5 2.6 13.1 7.29
conv4_2 2359296 27 8 4.2 5 2.9 10.9 5.93
conv4_3 2359296 34 8 4.4 5 2.5 14.0 7.47
conv5_1 2359296 35 8 4.7 5 2.5 14.3 8.00
conv5_2 2359296 29 8 4.6 5 2.7 11.7 6.52
conv5_3 2359296 36 8 4.6 5 2.3 14.8 7.79
fc6 102760448 4 5 3.6 5 3.5 1.6 1.10
fc7 16777216 4 5 4 5 4.3 1.5 1.25
fc8 4096000 23 5 4 5 3.4 7.1 5.24
total 138344128 7.5 6.4 4.1 5 3.1 3.2 2.05
""", (31, 49), (31.50, 31.17), (552_000, 11_300))

NETWORKS = (LENET_300_100, LENET_5, ALEXNET, VGG_16)

# Table 6, AlexNet: bits of convolutions / dense layers -> top-1 and top-5 error in percent.
TABLE_6 = {"32 / 32": (42.78, 19.73), "8 / 5": (42.78, 19.70), "8 / 4": (42.79, 19.73), "4 / 2": (44.77, 22.33)}

# Table 7, AlexNet: method -> top-1 error in percent, megabytes, printed ratio.
TABLE_7 = {
    "baseline": (42.78, 240.0, 1.0), "Fastfood-32-AD": (41.93, 131.0, 2.0), "Fastfood-16-AD": (42.90, 64.0, 3.7), "Collins & Kohli": (44.40, 61.0, 4.0),
    "SVD": (44.02, 47.6, 5.0), "pruning": (42.77, 27.0, 9.0), "pruning, quantization": (42.78, 8.9, 27.0), "all three stages": (42.78, 6.9, 35.0),
}

LAYERS = ("AlexNet fc6", "AlexNet fc7", "AlexNet fc8", "VGG-16 fc6", "VGG-16 fc7", "VGG-16 fc8")

# Table 8: device -> {kind and batch: microseconds of the six layers}.
TABLE_8 = {
    "Core i7-5930K": {"dense 1": (7516.2, 6187.1, 1134.9, 35022.8, 5372.8, 774.2), "sparse 1": (3066.5, 1282.1, 890.5, 3774.3, 545.1, 777.3),
                      "dense 64": (318.4, 188.9, 45.8, 1056.0, 188.3, 45.7), "sparse 64": (1417.6, 682.1, 407.7, 1780.3, 274.9, 363.1)},
    "Titan X": {"dense 1": (541.5, 243.0, 80.5, 1467.8, 243.0, 80.5), "sparse 1": (134.8, 65.8, 54.6, 167.0, 39.8, 48.0),
                "dense 64": (19.8, 8.9, 5.9, 53.6, 8.9, 5.9), "sparse 64": (94.6, 51.5, 23.2, 121.5, 24.4, 22.0)},
    "Tegra K1": {"dense 1": (12437.2, 5765.0, 2252.1, 35427.0, 5544.3, 2243.1), "sparse 1": (2879.3, 1256.5, 837.0, 4377.2, 626.3, 745.1),
                 "dense 64": (1663.6, 2056.8, 298.0, 2001.4, 2050.7, 483.9), "sparse 64": (4003.9, 1372.8, 576.7, 8024.8, 660.2, 544.1)},
}

# Table 9: device -> {kind: watts of the six layers, batch 1}.
TABLE_9 = {
    "Core i7-5930K": {"dense 1": (83.5, 72.8, 77.6, 70.6, 74.6, 77.0), "sparse 1": (42.3, 37.4, 36.5, 38.0, 37.4, 36.0)},
    "Titan X": {"dense 1": (157, 159, 159, 166, 163, 159), "sparse 1": (181, 183, 162, 189, 166, 162)},
    "Tegra K1": {"dense 1": (5.1, 5.1, 5.4, 5.3, 5.3, 5.4), "sparse 1": (5.9, 6.1, 5.8, 5.6, 6.3, 5.8)},
}
SPEEDUPS_PRINTED = {"Core i7-5930K": 3.0, "Titan X": 3.5, "Tegra K1": 4.2}
ENERGY_PRINTED = {"Core i7-5930K": 7.0, "Titan X": 3.3, "Tegra K1": 4.2}
SRAM_PJ, DRAM_PJ = 5.0, 640.0  # energy of one access of 32 bits, picojoules, as the paper prints it


def geometric_mean(values: Iterable[float]) -> float:
    """The n-th root of the product: the mean for ratios, the same whichever side is below the line.

    >>> geometric_mean([2.0, 0.5])
    1.0
    """
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs))


def speedups(device: str, batch: int = 1) -> list[float]:
    """Dense time over sparse time of each of the six layers (table 8)."""
    times = TABLE_8[device]
    return [dense / sparse for dense, sparse in zip(times[f"dense {batch}"], times[f"sparse {batch}"], strict=True)]


def energy_ratios(device: str) -> list[float]:
    """Dense energy over sparse energy of each layer at batch 1: time (table 8) times watts (table 9)."""
    watts = TABLE_9[device]
    return [t * dense / sparse for t, dense, sparse in zip(speedups(device), watts["dense 1"], watts["sparse 1"], strict=True)]
