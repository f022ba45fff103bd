"""How a tensor is cut into blocks (granularity) and which codes a block may use (scheme).

Every granularity turns a tensor into *rows*: a matrix (n_blocks, block_size) whose rows each own one scale. Calibration,
affine codes and code books all work on rows, so there is one mechanism and not one per granularity.
"""

from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor

from qtoolkit.quantizers import _checks


def _axis(shape: tuple[int, ...], axis: int, who: str) -> int:
    """The axis counted from the front; ValueError if the shape has no such axis."""
    if not -len(shape) <= axis < len(shape):
        raise ValueError(f"{who} got a tensor of shape {tuple(shape)}, which has no axis {axis}")
    return axis % len(shape)


def _unflatten(rows: Tensor, shape: tuple[int, ...], axis: int, to: int) -> Tensor:
    """Undo `x.movedim(axis, to).reshape(rows.shape)` for an `x` of the given shape."""
    moved = list(shape)
    moved.insert(to % len(shape), moved.pop(axis))
    return rows.reshape(moved).movedim(to, axis)


@dataclass(frozen=True)
class PerTensor:
    """One scale for the whole tensor (layerwise quantization, survey III-E a).

    See: book/chapters/05-granularity.ipynb#four-ways-to-share-a-scale

    >>> PerTensor().blocks(torch.zeros(4, 6)).shape
    torch.Size([1, 24])
    """

    def blocks(self, x: Tensor) -> Tensor:
        """(any shape) -> (1, numel)."""
        return _checks.tensor(x).reshape(1, -1)

    def unblock(self, rows: Tensor, shape: tuple[int, ...]) -> Tensor:
        """(1, numel) -> `shape`."""
        return rows.reshape(shape)


@dataclass(frozen=True)
class PerChannel:
    """One scale for each index along `axis` (channelwise quantization, survey III-E c).

    Axis 0 of a Linear or Conv2d weight counts output channels; axis 0 of a batch counts tokens or images.
    See: book/chapters/05-granularity.ipynb#channels-that-are-all-zero

    >>> PerChannel(axis=1).blocks(torch.zeros(4, 6, 2)).shape
    torch.Size([6, 8])
    """

    axis: int = 0

    def __post_init__(self):
        _checks.whole_number(self.axis, "axis")

    def blocks(self, x: Tensor) -> Tensor:
        """(..., channels, ...) -> (channels, numel / channels)."""
        axis = _axis(_checks.tensor(x).shape, self.axis, "PerChannel")
        return x.movedim(axis, 0).reshape(x.shape[axis], -1)

    def unblock(self, rows: Tensor, shape: tuple[int, ...]) -> Tensor:
        """(channels, numel / channels) -> `shape`."""
        return _unflatten(rows, shape, _axis(shape, self.axis, "PerChannel"), 0)


@dataclass(frozen=True)
class ChannelGroups:
    """`groups` scales, each shared by as many neighboring channels (groupwise quantization, survey III-E b; Q-BERT).

    See: book/chapters/05-granularity.ipynb#four-ways-to-share-a-scale

    >>> ChannelGroups(groups=2).blocks(torch.zeros(4, 6)).shape
    torch.Size([2, 12])
    """

    groups: int
    axis: int = 0

    def __post_init__(self):
        _checks.positive_int(self.groups, "groups")
        _checks.whole_number(self.axis, "axis")

    def blocks(self, x: Tensor) -> Tensor:
        """(..., channels, ...) -> (groups, numel / groups)."""
        axis = _axis(_checks.tensor(x).shape, self.axis, "ChannelGroups")
        if x.shape[axis] % self.groups:
            raise ValueError(f"{x.shape[axis]} channels (axis {self.axis} of shape {tuple(x.shape)}) do not split into "
                             f"{self.groups} equal groups; choose a divisor of {x.shape[axis]}")
        return x.movedim(axis, 0).reshape(self.groups, -1)

    def unblock(self, rows: Tensor, shape: tuple[int, ...]) -> Tensor:
        """(groups, numel / groups) -> `shape`."""
        return _unflatten(rows, shape, _axis(shape, self.axis, "ChannelGroups"), 0)


@dataclass(frozen=True)
class PerGroup:
    """One scale for every `size` neighboring values along `axis` (sub-channelwise quantization, survey III-E d).

    See: book/chapters/05-granularity.ipynb#what-a-scale-costs

    >>> PerGroup(size=3).blocks(torch.zeros(4, 6)).shape
    torch.Size([8, 3])
    """

    size: int
    axis: int = -1

    def __post_init__(self):
        _checks.positive_int(self.size, "size")
        _checks.whole_number(self.axis, "axis")

    def blocks(self, x: Tensor) -> Tensor:
        """(..., length, ...) -> (numel / size, size)."""
        axis = _axis(_checks.tensor(x).shape, self.axis, "PerGroup")
        if x.shape[axis] % self.size:
            raise ValueError(f"{x.shape[axis]} values (axis {self.axis} of shape {tuple(x.shape)}) do not split into "
                             f"groups of {self.size}; choose a divisor of {x.shape[axis]}")
        return x.movedim(axis, -1).reshape(-1, self.size)

    def unblock(self, rows: Tensor, shape: tuple[int, ...]) -> Tensor:
        """(numel / size, size) -> `shape`."""
        return _unflatten(rows, shape, _axis(shape, self.axis, "PerGroup"), -1)


@dataclass(frozen=True)
class PerToken:
    """One scale for each vector along the last axis: a token of a sequence, an example of a batch (survey III-D, dynamic).

    See: book/chapters/04-static-and-dynamic-ranges.ipynb#a-range-for-each-token

    >>> PerToken().blocks(torch.zeros(2, 5, 8)).shape
    torch.Size([10, 8])
    """

    def blocks(self, x: Tensor) -> Tensor:
        """(..., features) -> (tokens, features)."""
        _axis(_checks.tensor(x).shape, -1, "PerToken")
        return x.reshape(-1, x.shape[-1])

    def unblock(self, rows: Tensor, shape: tuple[int, ...]) -> Tensor:
        """(tokens, features) -> `shape`."""
        return rows.reshape(shape)


Granularity = PerTensor | PerChannel | ChannelGroups | PerGroup | PerToken
_GRANULARITIES = {kind.__name__: kind for kind in (PerTensor, PerChannel, ChannelGroups, PerGroup, PerToken)}


def granularity_to_dict(granularity: Granularity) -> dict:
    """A granularity as plain JSON values, for a file header."""
    return {"kind": type(granularity).__name__, **asdict(granularity)}


def granularity_from_dict(about: dict) -> Granularity:
    """The granularity that `granularity_to_dict` described; ValueError for an unknown kind."""
    about = dict(about)
    kind = about.pop("kind", None)
    if kind not in _GRANULARITIES:
        raise ValueError(f"granularity kind is {kind!r}, expected one of {', '.join(_GRANULARITIES)}")
    return _GRANULARITIES[kind](**about)


def code_dtype(qmin: int, qmax: int) -> torch.dtype:
    """The smallest integer dtype that holds the codes qmin..qmax (unsigned 16-bit codes travel as int32).

    >>> code_dtype(-8, 7), code_dtype(0, 255), code_dtype(0, 65535)
    (torch.int8, torch.uint8, torch.int32)
    """
    for dtype in (torch.int8, torch.uint8, torch.int16):
        if torch.iinfo(dtype).min <= qmin and qmax <= torch.iinfo(dtype).max:
            return dtype
    return torch.int32


@dataclass(frozen=True)
class Scheme:
    """Which codes a block may use: `bits` wide, with or without a zero point, with or without a sign.

    signed:         -2^(b-1) .. 2^(b-1)-1          (narrow_range: -(2^(b-1)-1) .. 2^(b-1)-1)
    unsigned:        0 .. 2^b-1

    `symmetric` fixes the zero point at code 0. `narrow_range` gives up the lowest code, which makes Q(-x) = -Q(x).
    Raises TypeError or ValueError for bits outside 1..16 and for a narrow range without a sign or with 1 bit.
    Source: Gholami et al. 2021, section III-B and III-C.
    See: book/chapters/02-uniform-quantization.ipynb#symmetric-quantization

    >>> Scheme(bits=4).qmin, Scheme(bits=4).qmax, Scheme(bits=4, narrow_range=True).qmin
    (-8, 7, -7)
    """

    bits: int = 8
    symmetric: bool = True
    signed: bool = True
    narrow_range: bool = False
    granularity: Granularity = field(default_factory=PerTensor)

    def __post_init__(self):
        _checks.bit_width(self.bits)
        if not isinstance(self.granularity, Granularity):
            raise TypeError(f"granularity is {self.granularity!r}, expected an instance of {', '.join(_GRANULARITIES)}")
        if self.narrow_range and (self.bits == 1 or not self.signed):
            raise ValueError(f"narrow_range with bits={self.bits}, signed={self.signed}: it gives up the lowest of the signed "
                             "codes and needs 2 bits or more; use narrow_range=False")

    @property
    def qmin(self) -> int:
        """The lowest code."""
        return -(2 ** (self.bits - 1)) + self.narrow_range if self.signed else 0

    @property
    def qmax(self) -> int:
        """The highest code."""
        return 2 ** (self.bits - 1) - 1 if self.signed else 2**self.bits - 1

    @property
    def code_dtype(self) -> torch.dtype:
        """The integer dtype in which codes travel before they are packed."""
        return code_dtype(self.qmin, self.qmax)


def checked_scheme(scheme: Scheme) -> Scheme:
    """Return `scheme` if it is one, else raise TypeError."""
    if not isinstance(scheme, Scheme):
        raise TypeError(f"scheme is {scheme!r} ({type(scheme).__name__}), expected a Scheme such as Scheme(bits=4)")
    return scheme


def scheme_to_dict(scheme: Scheme) -> dict:
    """A scheme as plain JSON values, for a file header."""
    return {**asdict(scheme), "granularity": granularity_to_dict(scheme.granularity)}


def scheme_from_dict(about: dict) -> Scheme:
    """The scheme that `scheme_to_dict` described."""
    return Scheme(**{**about, "granularity": granularity_from_dict(about["granularity"])})
