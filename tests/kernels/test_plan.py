"""A whole integer network in one call: every stage by itself in an independent way, every instruction set, hostile bytes."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from test_conv import by_patches, layer_of

from qtoolkit import kernels
from qtoolkit.kernels import bench, ops, portable
from qtoolkit.kernels.conv import pack_conv
from qtoolkit.kernels.layer import pack_layer
from qtoolkit.kernels.plan import Convolution, MaxPool, pack_plan, sizes_between, unpack_plan

ISAS = kernels.info()["isas_available"]
native = pytest.mark.skipif(not kernels.info()["native"], reason="the compiled kernels are missing")
SCALE, ZERO = 0.03, -5
pair = st.tuples


def last(inputs: int, outputs: int, seed: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    weight = torch.from_numpy(rng.integers(-127, 128, (outputs, inputs)).astype(np.int8))
    return pack_layer(weight, scale=torch.tensor(2e-4), real_bias=torch.from_numpy(rng.normal(size=outputs).astype(np.float32)))


def network(channels, size, convs, pool, outputs, seed):
    """Random stages for images of `channels` x `size`, and the same as functions of int8 images (N, C, H, W), independent of the kernels."""
    stages, steps, shape = [], [], (channels, *size)
    for index, (out, kernel, stride, padding, dilation, groups) in enumerate(convs):
        out, groups = (out * shape[0], shape[0]) if groups else (out, 1)
        weight, bias, parts = layer_of(out, shape[0] // groups, kernel, seed + index)
        stages.append(Convolution(pack_conv(weight, bias, groups=groups, **parts), out, kernel, stride, padding, dilation, groups))
        steps.append(lambda x, a=(weight, bias, parts, stride, padding, dilation, groups): slow_conv(x, *a))
        shape = next_size(stages[-1], shape)
        if pool and min(shape[1:]) >= max(pool[0]):
            stages.append(MaxPool(*pool))
            steps.append(lambda x: F.max_pool2d(x.double(), *pool).to(torch.int8))
            shape = next_size(stages[-1], shape)
    stages.append(last(int(np.prod(shape)), outputs, seed))
    return stages, steps


def next_size(stage, shape):
    pads, dilation = getattr(stage, "padding", (0, 0)), getattr(stage, "dilation", (1, 1))
    sizes = [len(range(0, n + 2 * p - d * (k - 1), s)) for n, k, s, p, d in zip(shape[1:], stage.kernel, stage.stride, pads, dilation)]
    return (getattr(stage, "out_channels", shape[0]), *sizes)


def slow_conv(x, weight, bias, parts, stride, padding, dilation, groups):
    each, inputs = weight.shape[0] // groups, weight.shape[1]
    images = []
    for g in range(groups):
        rows = slice(g * each, (g + 1) * each)
        own = parts | {name: parts[name][rows] for name in ("multiplier", "shift")}
        images.append(by_patches(x[:, g * inputs : (g + 1) * inputs], weight[rows], bias[rows], own, stride, padding, dilation))
    size = [len(range(0, n + 2 * p - d * (k - 1), s)) for n, k, s, p, d in zip(x.shape[2:], weight.shape[2:], stride, padding, dilation)]
    return torch.cat(images, 1).reshape(len(x), -1, *size)


conv = pair(st.integers(1, 20), pair(st.integers(1, 4), st.integers(1, 4)), pair(st.integers(1, 2), st.integers(1, 3)),
            pair(st.integers(0, 2), st.integers(0, 2)), pair(st.integers(1, 2), st.just(1)), st.booleans())


@native
@pytest.mark.parametrize("isa", ISAS)
@given(images=st.integers(0, 40), channels=st.integers(1, 5), size=pair(st.integers(9, 14), st.integers(9, 13)), convs=st.lists(conv, max_size=2),
       pool=st.none() | pair(pair(st.integers(1, 3), st.integers(1, 2)), pair(st.integers(1, 3), st.integers(1, 3))), outputs=st.integers(1, 20),
       threads=st.integers(1, 3), seed=st.integers(0, 10**6))
def test_a_plan_of_images_equals_its_stages_one_by_one(isa, images, channels, size, convs, pool, outputs, threads, seed):
    shape = (channels, *size)
    try:
        stages, steps = network(channels, size, convs, pool, outputs, seed)
    except (ValueError, IndexError):        # a second convolution whose kernel is larger than what the first left
        return
    plan = pack_plan(stages, SCALE, ZERO, shape)
    x = 3 * torch.randn(images, *shape, generator=torch.Generator().manual_seed(seed))
    step = portable.quantize_int8(x, SCALE, ZERO)
    for run in steps if images else ():
        step = run(step)
    expected = portable.int8_linear_float(step.permute(0, 2, 3, 1).flatten(1), stages[-1], outputs) if images else torch.empty(0, outputs)
    with kernels.use_isa(isa), bench.threads(threads):
        assert torch.equal(ops.int8_plan(x, plan, outputs), expected)
        assert torch.equal(ops.int8_plan(x.flatten(1), plan, outputs), expected)
    if images:
        assert torch.equal(portable.int8_plan(x, plan, outputs), expected)


def example():
    """3 x 9 x 8, a convolution, a pooling, a depthwise convolution, two linear layers."""
    first, second = (layer_of(out, 3 if out == 4 else 1, (3, 3), out) for out in (4, 4))
    depthwise = layer_of(4, 1, (2, 2), 7)
    stages = [Convolution(pack_conv(first[0], first[1], **first[2]), 4, (3, 3), padding=(1, 1)), MaxPool((2, 2), (2, 2)),
              Convolution(pack_conv(depthwise[0], depthwise[1], groups=4, **depthwise[2]), 4, (2, 2), groups=4),
              pack_layer(torch.ones(6, 4 * 3 * 3, dtype=torch.int8), multiplier=torch.tensor(2**30), shift=torch.tensor(36)), last(6, 3, 1)]
    return stages, (3, 9, 8)


def test_packing_keeps_every_stage():
    stages, image = example()
    opened = unpack_plan(pack_plan(stages, SCALE, ZERO, image))
    assert (opened.zero_point, opened.image, opened.out_features) == (ZERO, image, 3) and opened.scale == pytest.approx(SCALE)
    assert sizes_between(opened.stages, image) == [image, (4, 9, 8), (4, 4, 4), (4, 3, 3), (6, 1, 1), (3, 1, 1)]
    for ours, given_ in zip(opened.stages, stages, strict=True):
        if isinstance(given_, torch.Tensor):
            assert torch.equal(ours, given_)
        elif isinstance(given_, MaxPool):
            assert ours == given_
        else:
            assert torch.equal(ours.layer, given_.layer)
            assert (ours.out_channels, ours.kernel, ours.stride, ours.padding, ours.dilation, ours.groups) == (
                given_.out_channels, given_.kernel, given_.stride, given_.padding, given_.dilation, given_.groups)


@pytest.mark.parametrize("isa", ISAS[:1] + ["torch"])
def test_every_altered_byte_of_header_and_stages_is_refused_or_harmless(isa):
    stages, image = example()
    good, refused = pack_plan(stages, SCALE, ZERO, image), 0
    run = portable.int8_plan if isa == "torch" else ops.int8_plan
    x = torch.rand(2, *image)
    for at in range(64 + 64 * len(stages)):
        for value in (0, 1, 0x7F, 0x80, 0xFF):
            plan = good.clone()
            plan[at] = value
            try:
                assert run(x, plan, 3).shape == (2, 3)
            except (ValueError, MemoryError):
                refused += 1
    assert refused > 500
    for size in (0, 63, 64, 200, len(good) - 64):
        with pytest.raises(ValueError, match="plan|layer|fit"):
            run(x, good[:size].clone(), 3)


def test_stages_that_do_not_follow_each_other_are_named():
    stages, image = example()
    for wrong, what in ((stages[:3], "last stage"), (stages[1:], "feeds|channels|fit"), ([], "0 stages"), ([MaxPool((10, 1), (1, 1)), *stages], "MaxPool of kernel"),
                        ([MaxPool((1, 1), (0, 1)), *stages], "stride"), ([*stages[:1], *stages[2:]], "feeds")):
        with pytest.raises(ValueError, match=what):
            pack_plan(wrong, SCALE, ZERO, image)
    with pytest.raises(ValueError, match="image="):
        pack_plan(stages, SCALE, ZERO)
    with pytest.raises(ValueError, match="image is"):
        pack_plan(stages, SCALE, ZERO, (3, 0, 8))
    with pytest.raises(ValueError, match="fit"):
        ops.int8_plan(torch.rand(2, 3, 9, 9), pack_plan(stages, SCALE, ZERO, image), 3)


def test_torch_knows_a_plan_of_images():
    stages, image = example()
    plan = pack_plan(stages, SCALE, ZERO, image)
    x = torch.rand(4, *image)
    torch.library.opcheck(ops.int8_plan, (x, plan, 3))
    compiled = torch.compile(lambda x: ops.int8_plan(x, plan, 3) * 2, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x), 2 * ops.int8_plan(x, plan, 3))


def test_a_number_that_is_not_finite_is_refused_in_any_image():
    stages, image = example()
    plan = pack_plan(stages, SCALE, ZERO, image)
    for row in (0, 8, 19):
        x = torch.rand(20, *image)
        x[row, 1, 3, 3] = float("nan")
        for run in (ops.int8_plan, portable.int8_plan):
            with pytest.raises(ValueError, match="NaN"):
                run(x, plan, 3)
