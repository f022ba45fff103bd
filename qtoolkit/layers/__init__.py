"""Modules that hold codes, and `quantize_`, which puts them into a model."""

from importlib import import_module

from qtoolkit.layers.api import DynamicInt8, WeightCodes, WeightOnly, find_layers, quantize_, size_in_bytes
from qtoolkit.layers.inputs import DynamicInputs, StaticInputs, calibrate
from qtoolkit.layers.weight_only import WeightOnlyConv2d, WeightOnlyLinear

# The int8 layers pull in the kernels, so they load on first use.
_INT8 = ("Int8DynamicConv2d", "Int8DynamicLinear", "Int8Linear", "StaticInt8", "static_int8")

__all__ = ["DynamicInputs", "DynamicInt8", "StaticInputs", "WeightCodes", "WeightOnly", "WeightOnlyConv2d", "WeightOnlyLinear",
           "calibrate", "find_layers", "quantize_", "size_in_bytes", *_INT8]


def __getattr__(name: str):
    if name in _INT8:
        return getattr(import_module("qtoolkit.layers.int8"), name)
    raise AttributeError(f"qtoolkit.layers has no '{name}'; it has: {', '.join(__all__)}")
