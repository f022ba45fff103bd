"""HashedNets: weights share a value because a hash function says so, with no codes to store (Chen et al. 2015).

The rival of k-means weight sharing. Sharing is decided before training, blindly, so nothing but the bucket values and a
seed is stored; k-means looks at trained weights first and pays for a code per weight.
"""

import torch
from torch import Tensor, nn

from qtoolkit.quantizers import _checks

_32_BITS = 0xFFFFFFFF


def hash32(values: Tensor, seed: int) -> Tensor:
    """A well-mixed 32-bit number for every integer in `values`: MurmurHash3's finalizer over value + seed * golden ratio.

    >>> hash32(torch.arange(3), seed=1).unique().numel()
    3
    """
    h = (_checks.code_tensor(values, "values").long() + (seed * 0x9E3779B9)) & _32_BITS
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        h = ((h ^ (h >> shift)) * factor) & _32_BITS
    return h ^ (h >> 16)


class HashedLinear(nn.Module):
    """A Linear layer whose `out x in` virtual weights live in `buckets` real ones: W_ij = xi(i, j) * w[h(i, j)].

    h picks a bucket and xi a sign, both from a hash of (i, j): no index is stored, state_dict holds the buckets and the bias.
    The gradient of a bucket is the (signed) sum over its virtual weights, as in Deep Compression's equation 3. Source: Chen et
    al. 2015, equations 3, 4 and 7.
    See: book/chapters/17-weight-sharing.ipynb#hashednets-the-rival

    >>> layer = HashedLinear(784, 300, buckets=4000)
    >>> sum(p.numel() for p in layer.parameters()), tuple(layer(torch.zeros(2, 784)).shape)
    (4300, (2, 300))
    """

    def __init__(self, in_features: int, out_features: int, buckets: int, bias: bool = True, seed: int = 0):
        super().__init__()
        self.in_features = _checks.positive_int(in_features, "in_features")
        self.out_features = _checks.positive_int(out_features, "out_features")
        self.seed = seed
        generator = torch.Generator().manual_seed(seed)
        bound = in_features**-0.5
        draw = torch.empty(_checks.positive_int(buckets, "buckets")).uniform_(-bound, bound, generator=generator)
        self.buckets = nn.Parameter(draw)
        self.bias = nn.Parameter(torch.zeros(out_features)) if bias else None
        place = torch.arange(out_features * in_features).reshape(out_features, in_features)
        self.register_buffer("codes", hash32(place, 2 * seed) % buckets, persistent=False)
        self.register_buffer("signs", 1.0 - 2.0 * (hash32(place, 2 * seed + 1) & 1), persistent=False)

    @property
    def weight(self) -> Tensor:
        """The virtual weights, (out, in)."""
        return self.signs * self.buckets[self.codes]

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, buckets={self.buckets.numel()}, seed={self.seed}"
