"""A tensor becomes codes, and comes back.

    rows = granularity.blocks(x)          which numbers share a scale            scheme.py
    lo, hi = min_max(rows)                which range the codes shall cover      calibration.py
    scale, zero_point = choose_qparams    where the levels lie                   affine.py
    q = Affine.fit(x, scheme).encode(x)   codes beside their quantizer           qtensor.py
    pack(codes, bits)                     codes without a wasted bit             packing.py
"""

from qtoolkit.quantizers.affine import Affine, absorb_zero_point, choose_qparams, dequantize, fake_quantize, quantize
from qtoolkit.quantizers.calibration import min_max
from qtoolkit.quantizers.packing import pack, packed_size, unpack
from qtoolkit.quantizers.qtensor import QTensor
from qtoolkit.quantizers.scheme import ChannelGroups, PerChannel, PerGroup, PerTensor, Scheme

__all__ = [
    "Affine", "ChannelGroups", "PerChannel", "PerGroup", "PerTensor", "QTensor", "Scheme", "absorb_zero_point",
    "choose_qparams", "dequantize", "fake_quantize", "min_max", "pack", "packed_size", "quantize", "unpack",
]
