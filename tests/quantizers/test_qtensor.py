"""QTensor: what is stored is what is counted, and a file gives the same tensor back."""

import os

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from qtoolkit.quantizers import Affine, ChannelGroups, PerChannel, PerGroup, PerTensor, QTensor, Scheme

CASES = [Scheme(bits, symmetric, signed, granularity=g)
         for bits in (1, 3, 4, 8, 11, 16) for symmetric, signed in [(True, True), (False, True), (False, False)]
         for g in (PerTensor(), PerChannel(), ChannelGroups(2), PerGroup(5))]


def encoded(scheme):
    x = torch.randn(6, 10, generator=torch.Generator().manual_seed(3))
    return x, Affine.fit(x, scheme).encode(x)


@pytest.mark.parametrize("scheme", CASES, ids=str)
def test_a_file_gives_the_same_tensor_back(scheme, tmp_path):
    x, q = encoded(scheme)
    tensors, metadata = q.state("layer.")
    save_file(tensors, tmp_path / "q.safetensors", metadata)
    with safe_open(tmp_path / "q.safetensors", "pt") as f:
        loaded = QTensor.from_state({k: f.get_tensor(k) for k in f.keys()}, f.metadata(), "layer.")
    assert loaded.shape == x.shape and loaded.codes.dtype == q.codes.dtype
    assert torch.equal(loaded.codes, q.codes)
    assert torch.equal(loaded.dequantize(), q.dequantize())
    assert q.nbytes == sum(t.numel() * t.element_size() for t in tensors.values())
    assert q.nbytes < os.path.getsize(tmp_path / "q.safetensors")
    assert q.bits_per_weight == 8 * q.nbytes / 60


def test_dequantize_is_decode():
    x, q = encoded(Scheme(4))
    assert torch.equal(q.dequantize(), q.quantizer.fake(x))


@pytest.mark.parametrize("lost", ["codes", "scale", "zero_point"])
def test_an_incomplete_state_is_refused_by_name(lost):
    _, q = encoded(Scheme(4, symmetric=False))
    tensors, metadata = q.state()
    del tensors[lost]
    with pytest.raises(ValueError, match=lost):
        QTensor.from_state(tensors, metadata)


def test_an_unknown_family_is_refused():
    _, q = encoded(Scheme(4))
    tensors, metadata = q.state()
    with pytest.raises(ValueError, match="quantizer kind"):
        QTensor.from_state(tensors, {"qtensor": metadata["qtensor"].replace("Affine", "os.system")})


def test_codes_of_the_wrong_length_are_refused():
    _, q = encoded(Scheme(4))
    tensors, metadata = q.state()
    with pytest.raises(ValueError, match="expected"):
        QTensor.from_state(tensors | {"codes": tensors["codes"][:-1]}, metadata)


def test_a_quantizer_refuses_a_tensor_with_other_blocks():
    _, q = encoded(Scheme(4, granularity=PerChannel()))
    with pytest.raises(ValueError, match="fitted to 6"):
        q.quantizer.encode(torch.zeros(5, 10))
