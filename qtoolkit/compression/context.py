"""Weight codes of one layer as one adaptive arithmetic stream: where the weights are and which they are (section type CONTEXT).

The layer is walked row by row as a matrix (out, everything else). For every place one bit says whether a weight is kept; for
a kept weight its code follows, bit by bit from the top. Contexts let the layer's own structure predict the bits: dead pixels and
dead units (columns and rows without weights), weights beside weights. No tables, no fillers, no index width to choose.
"""

import math
from array import array

import numpy as np
import torch
from torch import Tensor

from qtoolkit.compression.arithmetic import Coder, Decoder, Encoder, Mixer
from qtoolkit.compression.bodies import from_raw
from qtoolkit.kernels.entropy import context_decode, context_encode

MAX_CONTEXTS = 1 << 22


def encode_codes(codes: Tensor, width: int, neighbor: int = 0) -> bytes:
    """Code a tensor of codes (0 = pruned, 1 .. 2^width - 1). `neighbor` is the distance of a second neighbor in a row: the
    image width for a layer that looks at pixels, 0 for none. Raises ValueError for more than 2^24 weights.

    The work is done by the compiled kernels where there are any, else by `encode_portably`; both write the same bytes.

    See: book/chapters/18-huffman-coding.ipynb#beyond-huffman

    >>> codes = torch.tensor([[0, 1, 0, 3], [0, 2, 0, 0]])
    >>> decode_codes(encode_codes(codes, width=2), codes.shape, width=2)
    tensor([[0, 1, 0, 3],
            [0, 2, 0, 0]], dtype=torch.int32)
    """
    rows, columns = _matrix(codes.shape)
    return context_encode(codes.reshape(rows, columns).to(torch.int32), width, min(neighbor, columns)).numpy().tobytes()


def decode_codes(stream: bytes, shape: tuple[int, ...], width: int, neighbor: int = 0) -> Tensor:
    """The codes that `encode_codes` wrote, int32. Raises ValueError when stream and shape do not belong together."""
    rows, columns = _matrix(shape)
    return context_decode(from_raw(stream, torch.uint8), rows, columns, width, min(neighbor, columns)).reshape(shape)


def encode_portably(codes: Tensor, width: int, neighbor: int) -> bytes:
    """`encode_codes` in Python, to read and to check the kernels by: int32 codes of shape (rows, columns)."""
    encoder, flat = Encoder(), array("H", codes.reshape(-1).numpy().astype(np.uint16).tobytes())
    _walk(encoder, flat, codes.shape, width, neighbor)
    return encoder.finish()


def decode_portably(stream: bytes, rows: int, columns: int, width: int, neighbor: int) -> Tensor:
    """`decode_codes` in Python."""
    decoder = Decoder(stream)
    flat = _walk(decoder, array("H", bytes(2 * rows * columns)), (rows, columns), width, neighbor)
    decoder.finish()
    return torch.from_numpy(np.frombuffer(flat, dtype=np.uint16).astype(np.int32)).reshape(rows, columns)


def _matrix(shape: tuple[int, ...]) -> tuple[int, int]:
    rows = shape[0] if len(shape) > 1 else 1
    return rows, math.prod(shape) // max(rows, 1)


def _walk(coder: Coder, codes: array, shape: tuple[int, int], width: int, neighbor: int) -> array:
    """Code every weight in order. Encoding passes the codes through; decoding fills them in. One walk, so they cannot differ."""
    rows, columns = shape
    mask, value = Mixer(inputs=6), Mixer(inputs=3)
    column_counts = [0] * columns
    for row in range(rows):
        start, in_row = row * columns, 0
        for column in range(columns):
            at = start + column
            contexts, select = _mask_contexts(codes, at, row, column, columns, neighbor, column_counts[column], in_row)
            if mask.code(coder, int(codes[at] != 0), contexts, select):
                if not (code := _code_value(coder, value, codes[at], width, row, column)):
                    raise ValueError("a kept weight has the code of a pruned one; the coded stream is damaged")
                if sum(map(len, value.cells[1:])) > MAX_CONTEXTS:
                    raise ValueError("the codes have more contexts than can be kept; the layer is too large to code by context")
                codes[at] = code
                column_counts[column] += 1
                in_row += 1
    return codes


def _mask_contexts(codes: array, at: int, row: int, column: int, columns: int, neighbor: int,
                   in_column: int, in_row: int) -> tuple[tuple[int, ...], int]:
    """Six views of the past for 'is there a weight here?', and the number of neighbors that have one."""
    left = codes[at - 1] != 0 if column else 0
    above = codes[at - columns] != 0 if row else 0
    far = codes[at - neighbor] != 0 if 0 < neighbor <= column else 0
    around = left + 2 * far + 4 * above
    column_level = min(in_column * 64 // (row + 1), 15) + 16 * min(row, 12)
    row_level = min(in_row * 96 // (column + 16), 15)
    return (0, column, row + 1, column_level * 16 + row_level, around * 16 + row_level, around * 256 + column_level), left + far + above


def _code_value(coder: Coder, mixer: Mixer, code: int, width: int, row: int, column: int) -> int:
    """The code of a kept weight, from its top bit down; the bits so far are part of every context."""
    seen = 1
    for shift in reversed(range(width)):
        bit = mixer.code(coder, code >> shift & 1, (seen, seen << 20 | column, seen << 20 | row), select=seen)
        seen = seen << 1 | bit
    return seen - (1 << width)
