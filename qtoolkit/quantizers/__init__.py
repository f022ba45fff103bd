"""A tensor becomes codes, and comes back.

    rows = granularity.blocks(x)             which numbers share a scale             scheme.py
    lo, hi = min_max(rows)                   which range the codes shall cover       calibration.py, clipping.py, observers.py
    scale, zero_point = choose_qparams(..)   where even levels lie                   affine.py
    levels = KMeans(k)(rows)                 where uneven levels lie                 levels.py, binary_codes.py, clusters.py, optimal.py (on sorted_rows.py)
    q = Affine.fit(x, scheme).encode(x)      codes beside their quantizer            affine.py, codebook.py, vector.py, residual.py
    q.dequantize(), q.nbytes, q.state()      back again, and to a file               qtensor.py, packing.py
"""

from qtoolkit.quantizers.affine import Affine, absorb_zero_point, choose_qparams, dequantize, fake_quantize, quantize
from qtoolkit.quantizers.binary_codes import BinaryCodes, refit_scales, residual_scales, sign_sums
from qtoolkit.quantizers.calibration import AciqGauss, AciqLaplace, Percentile, min_max
from qtoolkit.quantizers.clipping import KL, MSE, kl_bins, kl_divergence
from qtoolkit.quantizers.codebook import Codebook, Grid, midpoints
from qtoolkit.quantizers.histogram import Histogram
from qtoolkit.quantizers.clusters import Clusters, ForgyInit, KMeans, density_init, kmeans, linear_init
from qtoolkit.quantizers.learned_levels import LearnedClip, LearnedInterval, LearnedLevels, standardize
from qtoolkit.quantizers.levels import APoT, LloydMax, NormalFloat, PowerOfTwo, largest, least_squares
from qtoolkit.quantizers.observers import DynamicRange, HistogramObserver, MinMaxObserver, MovingAverageObserver, StaticRange
from qtoolkit.quantizers.optimal import OptimalKMeans, optimal_kmeans
from qtoolkit.quantizers.packing import pack, packed_size, unpack
from qtoolkit.quantizers.qtensor import QTensor
from qtoolkit.quantizers.residual import ResidualQuantizer
from qtoolkit.quantizers.scheme import ChannelGroups, PerChannel, PerGroup, PerTensor, PerToken, Scheme
from qtoolkit.quantizers.vector import ProductQuantizer, column_blocks, input_metrics, nearest, vector_kmeans

__all__ = [
    "APoT", "AciqGauss", "AciqLaplace", "Affine", "BinaryCodes", "ChannelGroups", "Clusters", "Codebook", "DynamicRange", "ForgyInit",
    "Grid", "Histogram", "HistogramObserver", "KL", "KMeans", "LearnedClip", "LearnedInterval", "LearnedLevels", "LloydMax", "MSE",
    "MinMaxObserver", "MovingAverageObserver", "NormalFloat", "OptimalKMeans", "PerChannel", "PerGroup", "PerTensor", "PerToken",
    "Percentile", "PowerOfTwo", "ProductQuantizer", "QTensor", "ResidualQuantizer", "Scheme", "StaticRange", "absorb_zero_point",
    "choose_qparams", "column_blocks", "density_init", "dequantize", "fake_quantize", "input_metrics", "kl_bins", "kl_divergence",
    "kmeans", "largest", "least_squares", "linear_init", "midpoints", "min_max", "nearest", "optimal_kmeans", "pack", "packed_size",
    "quantize", "refit_scales", "residual_scales", "sign_sums", "standardize", "unpack", "vector_kmeans",
]
