"""Integer kernels for the processor: C++ where a compiler was found at installation, plain torch everywhere else.

    info()           which of the two is at work, with which instructions, and why
    ops              int8 linear layers and whole networks ("plans") as torch operators, under torch.ops.qtoolkit
    conv             int8 convolution
    groupwise        weights of 4 or 2 bits (ternary too) with a scale for each group of inputs, int8 activations
    table            binary or ternary weights and binary inputs; weights from a code book of 16 or 32 entries
    binary_conv      convolution of signs, weights binary or ternary
    sparse           sparse weights in compressed rows
    relative_sparse  the same in 2 bytes a weight, as Deep Compression stores them
    tile_sparse      int8 weights pruned in tiles of 16 outputs x 4 inputs, which the int8 product skips
    entropy          Huffman decoding and encoding
    layer            weights, biases and scales packed into the bytes that an operator takes (conv_layer: those of a convolution)
    plan             a whole integer network packed into bytes: linear layers, convolutions, max-poolings
    reference        the arithmetic in a few lines of torch: the definition that every integer kernel meets bit for bit
    bench            all of it timed beside its peers and the machine's limits (`qt bench`)

The C interface is csrc/qk.h; csrc/gemm_tile.h is the place to start reading, with csrc/simd/scalar.h beside it.
"""

from qtoolkit.kernels._lib import info, use_isa

__all__ = ["info", "use_isa"]
