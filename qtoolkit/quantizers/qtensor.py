"""QTensor: the codes of a tensor beside the quantizer that reads them."""

from __future__ import annotations

import json
from importlib import import_module

import torch
from torch import Tensor

from qtoolkit.quantizers import _checks
from qtoolkit.quantizers.packing import pack, packed_size, unpack

_FAMILIES = {"Affine": "affine", "Codebook": "codebook", "ProductQuantizer": "vector", "ResidualQuantizer": "residual"}


class QTensor:
    """A tensor in codes. A plain class, not a tensor subclass: `dequantize()` gives the real tensor back.

    A quantizer owns `bits`, `signed`, `decode(q)`, `parts()` (the tensors beside the codes) and `about()` (plain JSON
    values); so QTensor works for every family of quantizers.

    >>> from qtoolkit.quantizers import Affine, PerChannel, Scheme
    >>> w = torch.linspace(-1, 1, 64).reshape(2, 32)
    >>> q = Affine.fit(w, Scheme(bits=4, granularity=PerChannel())).encode(w)
    >>> q.nbytes, q.bits_per_weight
    (40, 5.0)
    """

    def __init__(self, codes: Tensor, quantizer, shape: tuple[int, ...] | None = None):
        self.codes = _checks.code_tensor(codes)
        self.quantizer = quantizer
        self.shape = torch.Size(codes.shape if shape is None else shape)

    def dequantize(self) -> Tensor:
        """The real numbers that the codes stand for."""
        return self.quantizer.decode(self)

    def packed(self) -> Tensor:
        """The codes without a wasted bit, as 1-D uint8."""
        return pack(self.codes, self.quantizer.bits)

    @property
    def nbytes(self) -> int:
        """Bytes of everything that decoding needs: packed codes, scales, zero points, code books."""
        parts = sum(part.numel() * part.element_size() for part in self.quantizer.parts().values())
        return packed_size(self.codes.numel(), self.quantizer.bits) + parts

    @property
    def bits_per_weight(self) -> float:
        """8 nbytes / number of values: the bit width plus its overhead."""
        return 8 * self.nbytes / self.shape.numel()

    def state(self, prefix: str = "") -> tuple[dict[str, Tensor], dict[str, str]]:
        """(tensors, metadata) for `safetensors.torch.save_file(tensors, path, metadata)`; keys begin with `prefix`."""
        about = {"kind": type(self.quantizer).__name__, "shape": list(self.shape), "codes": list(self.codes.shape),
                 "quantizer": self.quantizer.about()}
        tensors = {"codes": self.packed(), **self.quantizer.parts()}
        return {prefix + name: t for name, t in tensors.items()}, {prefix + "qtensor": json.dumps(about)}

    @classmethod
    def from_state(cls, tensors: dict[str, Tensor], metadata: dict[str, str], prefix: str = "") -> QTensor:
        """Undo `state`. Raises ValueError when a key is missing or the parts do not fit together."""
        try:
            about = json.loads(metadata[prefix + "qtensor"])
            family, shape = _family(about["kind"]), about["codes"]
            parts = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
            quantizer = family.from_parts(parts, about["quantizer"])
            codes = unpack(parts["codes"], quantizer.bits, torch.Size(shape).numel(), quantizer.signed)
        except KeyError as missing:
            raise ValueError(f"the state has no {missing}; expected what QTensor.state(prefix={prefix!r}) returned") from None
        return cls(codes.to(quantizer.code_dtype).reshape(shape), quantizer, about["shape"])

    def __repr__(self) -> str:
        return f"QTensor(shape={tuple(self.shape)}, {self.bits_per_weight:.3f} bits a value, {self.quantizer})"


def _family(kind: str) -> type:
    """The quantizer class of that name (imported only now: each of them imports QTensor)."""
    if kind not in _FAMILIES:
        raise ValueError(f"quantizer kind is {kind!r}, expected one of {', '.join(_FAMILIES)}")
    return getattr(import_module(f"qtoolkit.quantizers.{_FAMILIES[kind]}"), kind)
