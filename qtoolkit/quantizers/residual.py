"""Residual vector quantization: quantize, then quantize what is left."""

from __future__ import annotations

import torch
from torch import Tensor

from qtoolkit.quantizers import _checks
from qtoolkit.quantizers.qtensor import QTensor
from qtoolkit.quantizers.vector import ProductQuantizer


class ResidualQuantizer:
    """Product quantizers in a row, each coding what the ones before it left: w ~ c_1 + c_2 + ...

    Every further stage costs log2(k) / dim bits a weight and cannot raise the error.
    Source: Gong et al. 2014, section 3.2.4; Chen et al. 2010.
    See: book/chapters/15-vector-quantization.ipynb#residual-stages

    >>> w = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    >>> errors = [(ResidualQuantizer.fit(w, k=8, dim=2, stages=s).fake(w) - w).square().mean() for s in (1, 2, 3)]
    >>> errors == sorted(errors, reverse=True)
    True
    """

    signed = False

    def __init__(self, stages: list[ProductQuantizer]):
        if not stages or len({tuple(s.codebooks.shape) for s in stages}) != 1:
            raise ValueError(f"{len(stages)} stages, expected one or more, all with code books of one shape")
        self.stages = list(stages)

    @classmethod
    def fit(cls, weight: Tensor, k: int, dim: int, stages: int, seed: int = 0, steps: int = 25,
            shared: bool = False) -> ResidualQuantizer:
        """Fit one product quantizer after the other, each to the residual so far; `shared`: one code book a stage, not one a block."""
        residual, fitted = _checks.widened(_checks.real_tensor(weight, "weight")), []
        for stage in range(_checks.positive_int(stages, "stages")):
            fitted.append(ProductQuantizer.fit(residual, k, dim, seed=seed + stage, steps=steps, shared=shared))
            residual = residual - fitted[-1].fake(residual)
        return cls(fitted)

    def encode(self, weight: Tensor) -> QTensor:
        """codes: (out, blocks, stages)."""
        residual, codes = _checks.widened(_checks.real_tensor(weight, "weight")), []
        for stage in self.stages:
            q = stage.encode(residual)
            codes.append(q.codes)
            residual = residual - q.dequantize()
        return QTensor(torch.stack(codes, dim=-1), self, weight.shape)

    def decode(self, q: QTensor) -> Tensor:
        """The sum of the code words of all stages."""
        if not isinstance(q, QTensor):
            raise TypeError(f"q is a {type(q).__name__}, expected a QTensor from encode(weight)")
        return sum(stage.words(codes) for stage, codes in zip(self.stages, q.codes.unbind(-1))).reshape(q.shape)

    def fake(self, weight: Tensor) -> Tensor:
        """encode, then decode, in the dtype of the weight."""
        return self.decode(self.encode(weight)).to(weight.dtype)

    @property
    def bits(self) -> int:
        """Bits of one code."""
        return self.stages[0].bits

    @property
    def code_dtype(self) -> torch.dtype:
        """The integer dtype of unpacked codes."""
        return self.stages[0].code_dtype

    def parts(self) -> dict[str, Tensor]:
        """What a file stores beside the codes: the code books of all stages, (stages, blocks, k, dim)."""
        return {"codebooks": torch.stack([stage.codebooks for stage in self.stages])}

    def about(self) -> dict:
        """Nothing more is needed."""
        return {}

    @classmethod
    def from_parts(cls, parts: dict[str, Tensor], about: dict) -> ResidualQuantizer:
        """Undo `parts`."""
        return cls([ProductQuantizer(books) for books in parts["codebooks"]])

    def __repr__(self) -> str:
        return f"ResidualQuantizer({len(self.stages)} x {self.stages[0]})"
