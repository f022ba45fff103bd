"""Which limit a layer meets first: the multiply-adds that a machine does, or the bytes that it moves. And what both cost in energy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """What a layer has to do: multiply-adds, and bytes that move between memory and the processor."""

    multiply_adds: int
    nbytes: float

    @property
    def intensity(self) -> float:
        """Arithmetic intensity: multiply-adds for each byte moved."""
        return self.multiply_adds / self.nbytes


def linear_work(m: int, k: int, n: int, weight_bits: float = 8, activation_bits: float = 8) -> Work:
    """Work of a linear layer, each byte moved once:

        multiply-adds = M K N        bytes = (K N b_w + M K b_x + M N b_x) / 8

    Source: Williams, Waterman and Patterson 2009.
    See: book/chapters/12-inside-a-kernel.ipynb#the-roofline

    >>> work = linear_work(1, 1024, 1024)
    >>> work.multiply_adds, work.nbytes, round(work.intensity, 3)
    (1048576, 1050624.0, 0.998)
    """
    return Work(m * k * n, (k * n * weight_bits + (m * k + m * n) * activation_bits) / 8)


def roof(intensity: float, peak: float, bandwidth: float) -> float:
    """The most that a machine reaches: min(peak, intensity * bandwidth), in multiply-adds a second.

    peak: multiply-adds a second; bandwidth: bytes a second. Left of the ridge, peak / bandwidth, bytes decide.
    Source: Williams, Waterman and Patterson 2009.
    See: book/chapters/12-inside-a-kernel.ipynb#the-roofline

    >>> roof(2.0, peak=500.0, bandwidth=100.0), roof(50.0, peak=500.0, bandwidth=100.0)
    (200.0, 500.0)
    """
    return min(peak, intensity * bandwidth)


PICOJOULES = {  # 45 nm, 0.9 V: add, multiply; and 32 bits from DRAM
    "int8": (0.03, 0.2), "int32": (0.1, 3.1), "float16": (0.4, 1.1), "float32": (0.9, 3.7),
}
DRAM_PICOJOULES_A_BYTE = 640 / 4


def energy(work: Work, number: str = "int8") -> tuple[float, float]:
    """Picojoules of (arithmetic, memory): multiply-adds times one multiply and one add of `number`; bytes read from DRAM.

    int8 adds up in int32, and is charged an int32 addition. Raises ValueError for a kind of number that is not in PICOJOULES.
    Source: Horowitz 2014, figure 1.1.9; 640 pJ for 32 bits from DRAM as in Han, Mao and Dally 2016, section 1.
    See: book/chapters/12-inside-a-kernel.ipynb#bytes-cost-energy-too

    >>> energy(Work(10, 1), "float16")
    (15.0, 160.0)
    """
    if number not in PICOJOULES:
        raise ValueError(f"no energy known for {number!r}, expected one of: {', '.join(PICOJOULES)}")
    add, multiply = PICOJOULES[number]
    add = PICOJOULES["int32"][0] if number == "int8" else add
    return work.multiply_adds * (add + multiply), work.nbytes * DRAM_PICOJOULES_A_BYTE
