"""Integer kernels for the processor: C++ where a compiler was found at installation, plain torch everywhere else.

    info()        which of the two is at work, with which instructions, and why
    ops           the torch operators, under torch.ops.qtoolkit
    layer         weights, biases and scales packed into the bytes that an operator takes
    reference     the same arithmetic in a few lines of torch: the definition that every kernel must meet bit for bit

See qtoolkit/kernels/csrc/qk.h for the C interface.
"""

from qtoolkit.kernels._lib import info, use_isa

__all__ = ["info", "use_isa"]
