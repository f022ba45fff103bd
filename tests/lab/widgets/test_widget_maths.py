"""The arithmetic in the browser is torch's, bit for bit: same inputs, a real browser, equal results."""

import math

import pytest
import torch

from qtoolkit import Affine, Scheme
from qtoolkit.lab.widgets.bundle import ESM
from qtoolkit.quantizers.affine import choose_qparams, dequantize, quantize

MODES = {"full": {}, "restricted": {"narrow_range": True}, "asymmetric": {"symmetric": False}}
CALL = """async ([source, name, calls]) => {
  const maths = await import("data:text/javascript," + encodeURIComponent(source));
  const plain = (value) => value instanceof Uint8Array ? [...value] : value && value.used ? { ...value, used: [...value.used] } : value;
  return calls.map((arguments_) => plain(maths[name](...arguments_)));
}"""


def call(page, name: str, calls: list) -> list:
    """maths.js's function `name`, called in the page with each of the argument lists."""
    return page.evaluate(CALL, [(ESM / "maths.js").read_text(), name, calls])


def schemes():
    return [(bits, mode, Scheme(bits=bits, **extra)) for bits in range(2, 9) for mode, extra in MODES.items()]


def f32(x) -> float:
    return torch.tensor(x, dtype=torch.float32).item()


def ranges() -> list[tuple[float, float]]:
    draw = torch.Generator().manual_seed(1)
    ends = (torch.randn(60, 2, generator=draw) * 10.0 ** torch.randint(-6, 6, (60, 1), generator=draw)).sort(dim=1).values
    edges = [(0.0, 0.0), (-1.0, 0.0), (0.0, 2.5), (0.5, 2.5), (-3.0, -1.0), (1e-45, 1e-45), (-3e38, 3e38), (0.0, 1e-39)]
    return [(f32(lo), f32(hi)) for lo, hi in ends.tolist() + edges]


def test_ties_go_to_the_even_neighbor(page):
    numbers = [x / 4 for x in range(-50, 51)] + [0.49999999999999994, -0.5, 1e15 + 0.5, 4503599627370497.5]
    assert call(page, "roundHalfEven", [[x] for x in numbers]) == [float(round(x)) for x in numbers]


def test_scale_and_zero_point_are_torchs(page):
    cases = [(lo, hi, bits, mode, scheme) for lo, hi in ranges() for bits, mode, scheme in schemes()]
    got = call(page, "chooseQparams", [[lo, hi, bits, mode] for lo, hi, bits, mode, _ in cases])
    for (lo, hi, _, _, scheme), params in zip(cases, got, strict=True):
        scale, zero_point = choose_qparams(torch.tensor(lo), torch.tensor(hi), scheme)
        assert (params["scale"], params["zeroPoint"]) == (scale.item(), zero_point.item()), (lo, hi, scheme)
        assert (params["qmin"], params["qmax"]) == (scheme.qmin, scheme.qmax)


def test_codes_and_levels_are_torchs(page):
    draw = torch.Generator().manual_seed(2)
    for bits, mode, scheme in schemes():
        scale, zero_point = choose_qparams(torch.tensor(-0.7), torch.tensor(1.9), scheme)
        params = {"scale": scale.item(), "zeroPoint": zero_point.item(), "qmin": scheme.qmin, "qmax": scheme.qmax}
        ties = (torch.arange(scheme.qmin - 3, scheme.qmax + 3) + 0.5) * scale
        x = torch.cat([torch.randn(400, generator=draw), ties])
        codes = quantize(x, scale, zero_point, scheme.qmin, scheme.qmax)
        assert call(page, "quantize", [[value, params] for value in x.tolist()]) == codes.tolist(), (bits, mode)
        assert call(page, "dequantize", [[code, params] for code in codes.tolist()]) == dequantize(codes, scale, zero_point).tolist()


def test_the_report_is_torchs(page):
    x = torch.randn(2000, generator=torch.Generator().manual_seed(3)) * 0.2
    for bits, mode, scheme in schemes():
        lo, hi = x.min() * 0.6, x.max() * 0.6
        quantizer = Affine.from_range(lo, hi, scheme)
        params = call(page, "chooseQparams", [[lo.item(), hi.item(), bits, mode]])[0]
        report = call(page, "quantizationReport", [[x.tolist(), params]])[0]
        error = (x.double() - quantizer.fake(x).double()).square().mean().item()
        assert report["mse"] == pytest.approx(error, rel=1e-12)
        assert report["sqnr"] == pytest.approx(10 * math.log10(x.double().square().mean().item() / error), rel=1e-9)
        assert sorted(report["used"]) == quantizer.encode(x).codes.unique().tolist()
        first, last = ((code - params["zeroPoint"]) * params["scale"] for code in (scheme.qmin, scheme.qmax))
        clipped = ((x < first - params["scale"] / 2) | (x > last + params["scale"] / 2)).double().mean().item()
        assert report["clipped"] == pytest.approx(clipped, abs=1e-3)


def test_a_value_of_weight_three_counts_three_times(page):
    params = {"scale": 0.5, "zeroPoint": 0, "qmin": -2, "qmax": 1}
    weighted, repeated = call(page, "quantizationReport", [[[0.3, 2.0], params, [3, 1]], [[0.3, 0.3, 0.3, 2.0], params]])
    assert weighted.pop("used") == repeated.pop("used")
    assert weighted == pytest.approx(repeated)


def test_no_error_is_no_noise(page):
    params = {"scale": 0.5, "zeroPoint": 0, "qmin": -2, "qmax": 1}
    report = call(page, "quantizationReport", [[[0.5, 0.0, -1.0], params]])[0]
    assert (report["mse"], report["sqnr"], report["clipped"]) == (0, None, 0)


def test_pixels_are_rounded_as_the_quantizer_rounds_them(page):
    pixels = torch.arange(256)
    for bits in range(1, 9):
        quantizer = Affine.from_range(0.0, 1.0, Scheme(bits=bits, symmetric=False, signed=False))
        expected = (quantizer.fake(pixels / 255) * 255).round().int().tolist()
        assert call(page, "roundPixels", [[pixels.tolist(), bits]])[0] == expected
