"""Digits and what a network says about them, at several bit widths."""

import torch
import traitlets
from torch import Tensor

from qtoolkit.lab.widgets.base import Widget, float_bytes, synced


class DigitFrames(Widget):
    """Pictures, labels, and for every bit width the ten probabilities that the network gave: shared by the widgets below.

    images: (N, 28, 28) uint8; labels: (N,) integers 0..9; frames: {bits: probabilities (N, 10)}, 32 stands for float32;
    wrong: {bits: how many of `total` test digits are wrong}, may be left out. Raises TypeError or ValueError for what does not fit.
    """

    images = synced(traitlets.Bytes())
    labels = synced(traitlets.List())
    scores = synced(traitlets.Bytes())
    bits = synced(traitlets.List())
    wrong = synced(traitlets.List())
    total = synced(traitlets.Int())
    title = synced(traitlets.Unicode())
    default_title = ""

    def __init__(self, images: Tensor, labels: Tensor, frames: dict[int, Tensor], wrong: dict[int, int] | None = None,
                 total: int = 10_000, title: str = ""):
        widths = sorted(frames, reverse=True)
        check_frames(images, labels, frames)
        if wrong is not None and set(wrong) != set(frames):
            raise ValueError(f"wrong counts bits {sorted(wrong)}, frames have bits {sorted(frames)}: expected the same")
        super().__init__(
            images=images.contiguous().cpu().numpy().tobytes(), labels=[int(label) for label in labels],
            scores=float_bytes(torch.stack([frames[bits] for bits in widths])), bits=widths,
            wrong=[] if wrong is None else [int(wrong[bits]) for bits in widths], total=0 if wrong is None else total,
            title=title or self.default_title)


class BitsAndAccuracy(DigitFrames):
    """Several digits at once; a slider takes bits from the weights, and each card says what the network reads now."""

    module = "bits_and_accuracy.js"
    default_title = "The same digits, fewer bits for the weights"


class NetworkOnDigits(DigitFrames):
    """Step through digits: picture, ten probabilities, right or wrong; a slider takes bits from the weights if there are several frames."""

    module = "network_on_digits.js"
    default_title = "What the network reads"


class PixelBits(DigitFrames):
    """One digit at a time with fewer bits for each *pixel* (1 to 8); the script rounds the picture, the answers are frames."""

    module = "pixel_bits.js"
    default_title = "The same digit, fewer bits for the pixels"

    def __init__(self, images: Tensor, labels: Tensor, frames: dict[int, Tensor], **rest):
        if not set(frames) <= set(range(1, 9)):
            raise ValueError(f"frames have bits {sorted(frames)}, expected 1 to 8: a pixel has 8")
        super().__init__(images, labels, frames, **rest)


def check_frames(images: Tensor, labels: Tensor, frames: dict[int, Tensor]) -> None:
    """Raises TypeError or ValueError unless there are pictures, a label for each, and for each frame ten probabilities a picture."""
    if not isinstance(images, Tensor) or images.dtype != torch.uint8:
        raise TypeError(f"images are {getattr(images, 'dtype', type(images).__name__)}, expected a uint8 tensor, as in Digits.images")
    if images.dim() != 3 or images.shape[1:] != (28, 28) or len(images) != len(labels) or not len(images) or not frames:
        raise ValueError(f"images have shape {tuple(images.shape)} with {len(labels)} labels and {len(frames)} frames; "
                         "expected (N, 28, 28), N labels, N >= 1 and at least one frame")
    for bits, scores in frames.items():
        if tuple(scores.shape) != (len(images), 10) or not bool(torch.isfinite(scores).all()):
            raise ValueError(f"the frame of {bits} bits has shape {tuple(scores.shape)}, expected finite ({len(images)}, 10)")
        if bool((scores < 0).any()) or bool((scores > 1).any()):
            raise ValueError(f"the frame of {bits} bits spans {scores.min():g}..{scores.max():g}, expected probabilities: take softmax(1) of the logits")
