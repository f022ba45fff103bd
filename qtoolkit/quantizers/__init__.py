"""A tensor becomes codes, and comes back.

    rows = granularity.blocks(x)          which numbers share a scale            scheme.py
    lo, hi = min_max(rows)                which range the codes shall cover      calibration.py, clipping.py, observers.py
    scale, zero_point = choose_qparams    where the levels lie                   affine.py
    q = Affine.fit(x, scheme).encode(x)   codes beside their quantizer           qtensor.py
    pack(codes, bits)                     codes without a wasted bit             packing.py
"""

from qtoolkit.quantizers.affine import Affine, absorb_zero_point, choose_qparams, dequantize, fake_quantize, quantize
from qtoolkit.quantizers.calibration import AciqGauss, AciqLaplace, Percentile, min_max
from qtoolkit.quantizers.clipping import KL, MSE, kl_bins, kl_divergence
from qtoolkit.quantizers.histogram import Histogram
from qtoolkit.quantizers.observers import DynamicRange, HistogramObserver, MinMaxObserver, MovingAverageObserver, StaticRange
from qtoolkit.quantizers.packing import pack, packed_size, unpack
from qtoolkit.quantizers.qtensor import QTensor
from qtoolkit.quantizers.scheme import ChannelGroups, PerChannel, PerGroup, PerTensor, PerToken, Scheme

__all__ = [
    "AciqGauss", "AciqLaplace", "Affine", "ChannelGroups", "DynamicRange", "Histogram", "HistogramObserver", "KL", "MSE",
    "MinMaxObserver", "MovingAverageObserver", "PerChannel", "PerGroup", "PerTensor", "PerToken", "Percentile", "QTensor", "Scheme",
    "StaticRange", "absorb_zero_point", "choose_qparams", "dequantize", "fake_quantize", "kl_bins", "kl_divergence", "min_max", "pack",
    "packed_size", "quantize", "unpack",
]
