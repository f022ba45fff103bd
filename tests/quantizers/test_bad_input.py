"""One table over every public function of the room: each bad argument raises, naming what was given and expected."""

import pytest
import torch

import qtoolkit.quantizers as room
from qtoolkit.quantizers import *

X, NAN, INF, INT = torch.ones(2, 4), torch.tensor([[1.0, float("nan")]]), torch.tensor([[float("inf")]]), torch.ones(2, 4, dtype=torch.int32)
EMPTY, BOOL, COMPLEX = torch.empty(0, 4), torch.ones(2, dtype=torch.bool), torch.ones(2, 2, dtype=torch.complex64)
AFFINE, CODEBOOK = Affine(Scheme(4), 0.5), Codebook(torch.tensor([-1.0, 1.0]))

# Functions of one real tensor: every one of them must refuse the same eight things.
REAL = {
    "quantize": lambda x: quantize(x, 0.1, 0, -8, 7),
    "fake_quantize": lambda x: fake_quantize(x, 0.1, 0, -8, 7),
    "Affine.fit": lambda x: Affine.fit(x, Scheme(4)),
    "Affine.encode": AFFINE.encode,
    "Affine.fake": AFFINE.fake,
    "min_max": min_max,
    "Percentile": Percentile(90),
    "AciqLaplace": AciqLaplace(4),
    "AciqGauss": AciqGauss(4),
    "MSE": MSE(Scheme(4)),
    "KL": KL(4),
    "kl_bins": lambda x: kl_bins(x, 2),
    "kl_divergence": lambda x: kl_divergence(x, 2, 1),
    "Histogram.add": lambda x: Histogram().add(x),
    "MinMaxObserver.update": lambda x: MinMaxObserver().update(x),
    "MovingAverageObserver.update": lambda x: MovingAverageObserver().update(x),
    "HistogramObserver.update": lambda x: HistogramObserver().update(x),
    "StaticRange": lambda x: StaticRange.calibrate([X], Scheme(4))(x),
    "StaticRange.calibrate": lambda x: StaticRange.calibrate([x], Scheme(4)),
    "DynamicRange": lambda x: DynamicRange(Scheme(4))(x),
    "Codebook": lambda x: Codebook(x),
    "Codebook.fit": lambda x: Codebook.fit(x, KMeans(2)),
    "Codebook.encode": CODEBOOK.encode,
    "Codebook.fake": CODEBOOK.fake,
    "midpoints": midpoints,
    "PowerOfTwo": PowerOfTwo(3),
    "APoT": APoT(3),
    "NormalFloat": NormalFloat(3),
    "LloydMax": LloydMax(2),
    "BinaryCodes": BinaryCodes(2),
    "largest": lambda x: largest(x, X[:1], X[:1]),
    "least_squares": lambda x: least_squares(x, torch.tensor([[-1.0, 1.0]]), torch.tensor([[0.0]])),
    "sign_sums": sign_sums,
    "residual_scales": lambda x: residual_scales(x, 2),
    "refit_scales": lambda x: refit_scales(x, torch.ones(2, 2)),
    "kmeans": lambda x: kmeans(x, 2),
    "kmeans weights": lambda x: kmeans(X, 2, weights=x),
    "KMeans": KMeans(2),
    "linear_init": lambda x: linear_init(x, 2),
    "density_init": lambda x: density_init(x, 2),
    "ForgyInit": lambda x: ForgyInit()(x, 2),
    "optimal_kmeans": lambda x: optimal_kmeans(x, 2),
    "OptimalKMeans": OptimalKMeans(2),
    "LearnedLevels": LearnedLevels(torch.tensor([-1.0, 1.0])),
    "LearnedInterval": LearnedInterval(3, 0.5, 0.5),
    "LearnedClip": LearnedClip(torch.tensor([-1.0, 1.0])),
    "standardize": standardize,
    "nearest points": lambda x: nearest(x, X),
    "nearest centroids": lambda x: nearest(X, x),
    "vector_kmeans": lambda x: vector_kmeans(x, X),
    "column_blocks": lambda x: column_blocks(x, 2),
    "input_metrics": lambda x: input_metrics(x, 2, 2),
    "ProductQuantizer": ProductQuantizer,
    "ProductQuantizer.fit": lambda x: ProductQuantizer.fit(x, 2, 2),
    "ProductQuantizer.fit inputs": lambda x: ProductQuantizer.fit(X, 2, 2, inputs=x),
    "ProductQuantizer.encode": lambda x: ProductQuantizer(torch.ones(2, 2, 2)).encode(x),
    "ResidualQuantizer.fit": lambda x: ResidualQuantizer.fit(x, 2, 2, 2),
    "ResidualQuantizer.encode": lambda x: ResidualQuantizer([ProductQuantizer(torch.ones(2, 2, 2))]).encode(x),
}
BAD_REAL = {"NaN": (NAN, ValueError, "NaN or infinity"), "infinity": (INF, ValueError, "NaN or infinity"), "empty": (EMPTY, ValueError, "is empty"),
            "integers": (INT, TypeError, "int32"), "booleans": (BOOL, TypeError, "bool"), "complex": (COMPLEX, TypeError, "complex64"),
            "a list": ([1.0, 2.0], TypeError, "list"), "None": (None, TypeError, "NoneType")}

CODES = {
    "dequantize": lambda c: dequantize(c, 0.1, 0),
    "pack": lambda c: pack(c, 4),
    "absorb_zero_point": lambda c: absorb_zero_point(c, 3),
    "QTensor": lambda c: QTensor(c, AFFINE),
}
BAD_CODES = {"reals": (X, "float32"), "booleans": (BOOL, "bool"), "complex": (COMPLEX, "complex64"), "a list": ([1], "list")}

BITS = {"PowerOfTwo": PowerOfTwo, "APoT": APoT, "NormalFloat": NormalFloat, "LloydMax": LloydMax, "BinaryCodes": BinaryCodes,
        "LearnedInterval": lambda b: LearnedInterval(b, 0.5, 0.5), "residual_scales": lambda b: residual_scales(X, b),
        "AciqLaplace": AciqLaplace, "AciqGauss": AciqGauss, "KL": KL, "Scheme": lambda b: Scheme(b), "pack": lambda b: pack(INT, b), "unpack": lambda b: unpack(torch.zeros(1, dtype=torch.uint8), b, 1)}
BAD_BITS = {"0": (0, ValueError), "17": (17, ValueError), "-1": (-1, ValueError), "4.0": (4.0, TypeError), "'8'": ("8", TypeError), "True": (True, TypeError)}

OTHER = {
    "quantize scale 0": (lambda: quantize(X, 0.0, 0, -8, 7), ValueError, "positive"),
    "quantize scale negative": (lambda: quantize(X, -1.0, 0, -8, 7), ValueError, "positive"),
    "quantize scale NaN": (lambda: quantize(X, float("nan"), 0, -8, 7), ValueError, "NaN"),
    "quantize scale shape": (lambda: quantize(X, torch.ones(3), 0, -8, 7), ValueError, "does not broadcast"),
    "quantize scale enlarges x": (lambda: quantize(torch.ones(4), torch.ones(3, 1), 0, -8, 7), ValueError, "does not broadcast"),
    "quantize real zero point": (lambda: quantize(X, 0.1, 0.5, -8, 7), TypeError, "zero_point"),
    "quantize zero point outside": (lambda: quantize(X, 0.1, 9, -8, 7), ValueError, "-8..7"),
    "quantize codes reversed": (lambda: quantize(X, 0.1, 0, 7, -8), ValueError, "qmin"),
    "quantize one code": (lambda: quantize(X, 0.1, 0, 0, 0), ValueError, "qmin"),
    "quantize more than 16 bits": (lambda: quantize(X, 0.1, 0, 0, 65536), ValueError, "65536"),
    "quantize real qmin": (lambda: quantize(X, 0.1, 0, -8.0, 7), TypeError, "ints"),
    "dequantize scale 0": (lambda: dequantize(INT, 0.0, 0), ValueError, "positive"),
    "dequantize shape": (lambda: dequantize(INT, torch.ones(3), 0), ValueError, "does not broadcast"),
    "choose_qparams reversed": (lambda: choose_qparams(1.0, -1.0, Scheme(4)), ValueError, "lo <= hi"),
    "choose_qparams NaN": (lambda: choose_qparams(float("nan"), 1.0, Scheme(4)), ValueError, "lo holds NaN"),
    "choose_qparams infinite": (lambda: choose_qparams(0.0, float("inf"), Scheme(4)), ValueError, "hi holds NaN or inf"),
    "choose_qparams shapes": (lambda: choose_qparams(torch.zeros(2), torch.ones(3), Scheme(4)), ValueError, "one shape"),
    "choose_qparams text": (lambda: choose_qparams("0", 1.0, Scheme(4)), TypeError, "str"),
    "choose_qparams unsigned symmetric": (lambda: choose_qparams(-1.0, 1.0, Scheme(4, signed=False)), ValueError, "start at 0"),
    "Affine scale 0": (lambda: Affine(Scheme(4), 0.0), ValueError, "positive"),
    "Affine zero point": (lambda: Affine(Scheme(4), 0.1, 0.5), TypeError, "zero_point"),
    "Affine zero points of other blocks": (lambda: Affine(Scheme(4), torch.ones(3), torch.zeros(2, dtype=torch.int32)), ValueError, "blocks"),
    "Affine scheme": (lambda: Affine(4, 0.1), TypeError, "Scheme"),
    "Affine.fit scheme": (lambda: Affine.fit(X, 4), TypeError, "Scheme"),
    "Affine.decode text": (lambda: AFFINE.decode("codes"), TypeError, "QTensor"),
    "absorb_zero_point real": (lambda: absorb_zero_point(INT, 0.5), TypeError, "zero_point"),
    "absorb_zero_point bias real": (lambda: absorb_zero_point(INT, 1, torch.ones(2)), TypeError, "bias"),
    "absorb_zero_point bias shape": (lambda: absorb_zero_point(INT, 1, torch.ones(3, dtype=torch.int32)), ValueError, "bias has shape"),
    "absorb_zero_point scalar weight": (lambda: absorb_zero_point(torch.tensor(1), 1), ValueError, "weight_codes has shape"),
    "absorb_zero_point overflow": (lambda: absorb_zero_point(torch.full((1, 2**17), 127), 255), ValueError, "int32"),
    "min_max vector": (lambda: min_max(torch.ones(3)), ValueError, "n_blocks"),
    "unpack real": (lambda: unpack(torch.ones(1), 4, 2), TypeError, "uint8"),
    "unpack length": (lambda: unpack(torch.ones(1, dtype=torch.uint8), 4, 3), ValueError, r"expected \(2,\)"),
    "unpack negative count": (lambda: unpack(torch.ones(0, dtype=torch.uint8), 4, -1), ValueError, "count"),
    "unpack matrix": (lambda: unpack(torch.ones(1, 1, dtype=torch.uint8), 4, 2), ValueError, "expected"),
    "packed_size bits": (lambda: packed_size(3, 17), ValueError, "17"),
    "packed_size count": (lambda: packed_size(-3, 4), ValueError, "count"),
    "Scheme narrow unsigned": (lambda: Scheme(4, signed=False, narrow_range=True), ValueError, "narrow_range"),
    "Scheme narrow one bit": (lambda: Scheme(1, narrow_range=True), ValueError, "narrow_range"),
    "Scheme granularity": (lambda: Scheme(4, granularity="channel"), TypeError, "granularity"),
    "Scheme granularity class": (lambda: Scheme(4, granularity=PerChannel), TypeError, "granularity"),
    "PerChannel axis": (lambda: PerChannel(2).blocks(X), ValueError, "no axis 2"),
    "PerChannel axis text": (lambda: PerChannel("0"), TypeError, "axis"),
    "PerChannel scalar": (lambda: PerChannel(0).blocks(torch.tensor(1.0)), ValueError, "no axis 0"),
    "ChannelGroups do not divide": (lambda: ChannelGroups(3).blocks(X), ValueError, "divisor"),
    "ChannelGroups none": (lambda: ChannelGroups(0), ValueError, "groups"),
    "ChannelGroups real": (lambda: ChannelGroups(2.0), TypeError, "groups"),
    "PerGroup does not divide": (lambda: PerGroup(3).blocks(X), ValueError, "divisor of 4"),
    "PerGroup none": (lambda: PerGroup(0), ValueError, "size"),
    "PerTensor not a tensor": (lambda: PerTensor().blocks([1.0]), TypeError, "Tensor"),
    "Percentile none": (lambda: Percentile(0), ValueError, "percent"),
    "Percentile 101": (lambda: Percentile(101), ValueError, "percent"),
    "Percentile weights shape": (lambda: Percentile()(X, torch.ones(2, 3)), ValueError, "weights"),
    "MSE weights negative": (lambda: MSE()(X, -torch.ones(2, 4)), ValueError, "weights"),
    "MSE weights zero": (lambda: MSE()(X, torch.zeros(2, 4)), ValueError, "weights"),
    "MSE scheme": (lambda: MSE(4), TypeError, "Scheme"),
    "MSE steps": (lambda: MSE(Scheme(4), steps=0), ValueError, "steps"),
    "MSE vector": (lambda: MSE()(torch.ones(3)), ValueError, "n_blocks"),
    "KL bins": (lambda: KL(8, bins=100), ValueError, "bins"),
    "kl_bins levels": (lambda: kl_bins(X, 5), ValueError, "levels"),
    "kl_divergence kept": (lambda: kl_divergence(X, 5, 2), ValueError, "kept"),
    "Histogram odd": (lambda: Histogram(3), ValueError, "even"),
    "MovingAverageObserver momentum": (lambda: MovingAverageObserver(momentum=0.0), ValueError, "momentum"),
    "HistogramObserver min/max": (lambda: HistogramObserver(min_max), TypeError, "MinMaxObserver"),
    "StaticRange scheme": (lambda: StaticRange(Scheme(4)), TypeError, "Affine"),
    "StaticRange no batch": (lambda: StaticRange.calibrate([], Scheme(4)), ValueError, "no batch"),
    "DynamicRange scheme": (lambda: DynamicRange(4), TypeError, "Scheme"),
    "PerToken scalar": (lambda: PerToken().blocks(torch.tensor(1.0)), ValueError, "no axis"),
    "Codebook descending": (lambda: Codebook(torch.tensor([1.0, 0.0])), ValueError, "ascending"),
    "Codebook boundaries": (lambda: Codebook(torch.tensor([0.0, 1.0]), boundaries=torch.ones(2)), ValueError, "boundaries"),
    "Codebook scale": (lambda: Codebook(torch.tensor([0.0, 1.0]), scale=0.0), ValueError, "positive"),
    "Codebook other blocks": (lambda: Codebook.fit(X, KMeans(2), PerChannel()).encode(torch.ones(3, 4)), ValueError, "fitted to 2"),
    "Codebook.decode text": (lambda: CODEBOOK.decode("codes"), TypeError, "QTensor"),
    "Grid": (lambda: Codebook(*Grid(torch.ones(2, 2, 2))), ValueError, "levels"),
    "kmeans none": (lambda: kmeans(X, 0), ValueError, "k is 0"),
    "kmeans real": (lambda: kmeans(X, 2.0), TypeError, "k is 2.0"),
    "kmeans too many": (lambda: kmeans(X, 2**16 + 1), ValueError, "65536"),
    "kmeans weights shape": (lambda: kmeans(X, 2, weights=torch.ones(2, 3)), ValueError, "weights"),
    "kmeans weights negative": (lambda: kmeans(X, 2, weights=-X), ValueError, "weights"),
    "kmeans vector": (lambda: kmeans(torch.ones(3), 2), ValueError, "n_blocks"),
    "kmeans no steps": (lambda: kmeans(X, 2, steps=0), ValueError, "steps"),
    "Clusters of kmeans with a wrong init": (lambda: kmeans(X, 3, init=lambda rows, k: rows[:, :2]), ValueError, "init"),
    "linear_init unsorted": (lambda: linear_init(torch.tensor([[2.0, 1.0]]), 2), ValueError, "sorted"),
    "density_init none": (lambda: density_init(X, 0), ValueError, "k is 0"),
    "ForgyInit too many": (lambda: ForgyInit()(X, 5), ValueError, "without replacement"),
    "optimal_kmeans none": (lambda: optimal_kmeans(X, 0), ValueError, "k is 0"),
    "optimal_kmeans weights": (lambda: optimal_kmeans(X, 2, -X), ValueError, "weights"),
    "LearnedLevels descending": (lambda: LearnedLevels(torch.tensor([1.0, 0.0])), ValueError, "ascending"),
    "LearnedInterval width": (lambda: LearnedInterval(3, 0.5, 0.0), ValueError, "half_width"),
    "LearnedClip table": (lambda: LearnedClip(torch.tensor([-2.0, 2.0])), ValueError, "-1..1"),
    "LearnedClip clip": (lambda: LearnedClip(torch.tensor([-1.0, 1.0]), 0.0), ValueError, "clip"),
    "nearest dimensions": (lambda: nearest(X, torch.ones(2, 3)), ValueError, "coordinates"),
    "vector_kmeans metric": (lambda: vector_kmeans(X, X, metric=torch.ones(3, 3)), ValueError, "metric"),
    "vector_kmeans steps": (lambda: vector_kmeans(X, X, steps=-1), ValueError, "steps"),
    "column_blocks vector": (lambda: column_blocks(torch.ones(4), 2), ValueError, "weight has shape"),
    "column_blocks do not divide": (lambda: column_blocks(X, 3), ValueError, "divisor of 4"),
    "input_metrics columns": (lambda: input_metrics(X, 2, 3), ValueError, "inputs has shape"),
    "ProductQuantizer shape": (lambda: ProductQuantizer(X), ValueError, "codebooks"),
    "ProductQuantizer too many": (lambda: ProductQuantizer.fit(X, 3, 2), ValueError, "sub-vectors"),
    "ProductQuantizer.encode other blocks": (lambda: ProductQuantizer(torch.ones(3, 2, 2)).encode(X), ValueError, "fitted to 3"),
    "ProductQuantizer.decode text": (lambda: ProductQuantizer(torch.ones(2, 2, 2)).decode("codes"), TypeError, "QTensor"),
    "ResidualQuantizer none": (lambda: ResidualQuantizer([]), ValueError, "stages"),
    "ResidualQuantizer.fit none": (lambda: ResidualQuantizer.fit(X, 2, 2, 0), ValueError, "stages"),
    "QTensor shape": (lambda: QTensor.from_state({}, {}), ValueError, "qtensor"),
}


OPTIONAL = ("kmeans weights", "ProductQuantizer.fit inputs")  # None means: without


@pytest.mark.parametrize("function,bad", [(f, b) for f in REAL for b in BAD_REAL if not (f in OPTIONAL and b == "None")])
def test_real_input(function, bad):
    value, error, words = BAD_REAL[bad]
    with pytest.raises(error, match=words):
        REAL[function](value)


@pytest.mark.parametrize("bad", BAD_CODES)
@pytest.mark.parametrize("function", CODES)
def test_codes(function, bad):
    value, words = BAD_CODES[bad]
    with pytest.raises(TypeError, match=words):
        CODES[function](value)


@pytest.mark.parametrize("bad", BAD_BITS)
@pytest.mark.parametrize("function", BITS)
def test_bits(function, bad):
    value, error = BAD_BITS[bad]
    with pytest.raises(error, match="bits is"):
        BITS[function](value)


@pytest.mark.parametrize("case", OTHER)
def test_everything_else(case):
    call, error, words = OTHER[case]
    with pytest.raises(error, match=words):
        call()


def test_the_table_names_every_public_function():
    table = " ".join([*REAL, *CODES, *BITS, *OTHER])
    assert [name for name in room.__all__ if name not in table] == []
