"""Plain tensors as bytes: shape and dtype in front, then the values as they are (DENSE) or on a narrow grid (UNIFORM).

Also what every body shares: the tensor header, little-endian values, and the budget that is spent before memory is touched.
"""

import math
import struct
from dataclasses import dataclass

import torch
from torch import Tensor

from qtoolkit.compression.container import BadFile, Reader, varint
from qtoolkit.quantizers import _checks
from qtoolkit.quantizers.packing import pack, packed_size, unpack

DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32, torch.int16, torch.int8,
          torch.uint8, torch.bool)
_MAX_DIMS, _LARGEST_SPAN = 8, 1 << 48


@dataclass
class Budget:
    """Bytes that may still be allocated for decoded tensors; spent before the memory is touched."""

    left: int

    def spend(self, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        size, span = dtype.itemsize * math.prod(shape), math.prod(max(extent, 1) for extent in shape)
        if size > self.left or span > _LARGEST_SPAN:
            raise BadFile(f"a tensor of shape {shape} needs {size} bytes, the header leaves {self.left}; the file is damaged")
        self.left -= size


def tensor_header(shape: torch.Size, dtype: torch.dtype) -> bytes:
    if dtype not in DTYPES or len(shape) > _MAX_DIMS:
        raise ValueError(f"tensor is {dtype} with {len(shape)} dimensions, expected one of {DTYPES} with at most {_MAX_DIMS}")
    return bytes([DTYPES.index(dtype), len(shape)]) + b"".join(varint(extent) for extent in shape)


def read_tensor_header(reader: Reader, budget: Budget) -> tuple[tuple[int, ...], torch.dtype]:
    dtype, dims = read_dtype(reader), reader.u8()
    if dims > _MAX_DIMS:
        raise BadFile(f"{reader.what} has {dims} dimensions, expected at most {_MAX_DIMS}; it is damaged")
    shape = tuple(reader.varint() for _ in range(dims))
    budget.spend(shape, dtype)
    return shape, dtype


def read_dtype(reader: Reader) -> torch.dtype:
    if (number := reader.u8()) >= len(DTYPES):
        raise BadFile(f"{reader.what} has dtype number {number}, expected less than {len(DTYPES)}; it is damaged")
    return DTYPES[number]


def raw(tensor: Tensor) -> bytes:
    """Little-endian bytes (the machines that torch runs on store them so)."""
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def from_raw(data: bytes, dtype: torch.dtype) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.empty(0, dtype=dtype)


def narrowed(tensor: Tensor, stored: torch.dtype) -> Tensor:
    """`tensor` in the dtype it is stored in. Raises ValueError when finite values would become infinite."""
    narrow = tensor.detach().to(stored)
    if tensor.is_floating_point() and not torch.equal(narrow.isfinite(), tensor.isfinite()):
        raise ValueError(f"values reach {float(tensor.abs().max()):g}, too large for {stored}; store them as {tensor.dtype}")
    return narrow


def encode_dense(tensor: Tensor, stored: torch.dtype | None = None) -> bytes:
    """A DENSE body; `stored` narrows what is kept (float16 for a float32 bias), the tensor decodes to its own dtype."""
    stored = stored or tensor.dtype
    return tensor_header(tensor.shape, tensor.dtype) + bytes([DTYPES.index(stored)]) + raw(narrowed(tensor, stored))


def decode_dense(reader: Reader, budget: Budget) -> Tensor:
    shape, dtype = read_tensor_header(reader, budget)
    stored = read_dtype(reader)
    data = reader.take(stored.itemsize * math.prod(shape))
    if stored == torch.bool and max(data, default=0) > 1:
        raise BadFile(f"{reader.what} holds booleans other than 0 and 1; it is damaged")
    return from_raw(data, stored).to(dtype).reshape(shape)


def uniform_grid(tensor: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Scale and codes of the symmetric grid max|x| / (2^(bits-1) - 1): x ~ scale * codes, rounding half to even."""
    _checks.bit_width(bits, smallest=2)
    tensor = _checks.real_tensor(tensor.detach()).float()
    scale = tensor.abs().max() / (2 ** (bits - 1) - 1)
    return (scale, torch.round(tensor / scale).to(torch.int32)) if scale > 0 else (torch.tensor(1.0), tensor.to(torch.int32))


def encode_uniform(tensor: Tensor, bits: int) -> bytes:
    """A UNIFORM body: float32 scale and `bits`-bit two's complement codes of a real tensor, without the zeros at its end.

    Those are the biases of units that are no longer there, once `units.sort_units_` has put the others first.
    """
    scale, codes = uniform_grid(tensor, bits)
    codes = codes.reshape(-1)
    stored = codes[: int(codes.nonzero().max()) + 1] if codes.any() else codes[:0]
    packed = pack(stored, bits).numpy().tobytes() if stored.numel() else b""
    return tensor_header(tensor.shape, tensor.dtype) + struct.pack("<Bf", bits, float(scale)) + packed


def decode_uniform(reader: Reader, budget: Budget) -> Tensor:
    shape, dtype = read_tensor_header(reader, budget)
    bits, scale = struct.unpack("<Bf", reader.take(5))
    if not 2 <= bits <= 16 or not 0 < scale < float("inf") or not dtype.is_floating_point:
        raise BadFile(f"{reader.what} is {bits}-bit codes of scale {scale} for {dtype}; it is damaged")
    codes = torch.zeros(math.prod(shape))
    packed = from_raw(reader.take(min(reader.left, packed_size(codes.numel(), bits))), torch.uint8)
    if stored := min(codes.numel(), 8 * packed.numel() // bits):
        codes[:stored] = unpack(packed, bits, stored, signed=True).float()
    return (codes * torch.tensor(scale, dtype=torch.float32)).to(dtype).reshape(shape)
