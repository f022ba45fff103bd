"""Quantization and Deep Compression for torch, complete and readable.

The verbs, each living in the room named beside it:

    Scheme, Affine, QTensor      a tensor becomes codes             qtoolkit.quantizers
    quantize_, size_in_bytes     a model becomes a quantized one    qtoolkit.layers
    compress, decompress         a model becomes a file, and back   qtoolkit.compression
    kernels.info                 native or fallback, and why        qtoolkit.kernels
    check                        feedback on an exercise            qtoolkit.check

Names are loaded on first use: importing qtoolkit costs next to nothing beyond torch itself.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOME = {
    "Scheme": "quantizers", "PerTensor": "quantizers", "PerChannel": "quantizers",
    "ChannelGroups": "quantizers", "PerGroup": "quantizers", "Affine": "quantizers", "QTensor": "quantizers",
    "quantize_": "layers", "WeightOnly": "layers", "DynamicInt8": "layers", "size_in_bytes": "layers",
    "static_int8": "layers", "compress": "compression", "decompress": "compression",
}
_ROOMS = ("quantizers", "layers", "kernels", "compression", "lab", "check")

__all__ = ["__version__", *_HOME, *_ROOMS]


def __getattr__(name: str):
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"qtoolkit has no '{name}'; it has: {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
