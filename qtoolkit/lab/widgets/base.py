"""What every widget is: data computed by torch, drawn and recomputed by a script that travels with the notebook."""

import anywidget
import torch
import traitlets
from torch import Tensor

from qtoolkit.lab.widgets.bundle import ESM, bundle


class Widget(anywidget.AnyWidget):
    """A widget whose script is the ESM module named by `module`, bundled; live in JupyterLab and on a page without a kernel.

    A subclass names its module, declares its data as synchronized traits and fills them in `__init__`.
    """

    module: str
    _css = (ESM / "widget.css").read_text(encoding="utf-8")

    def __init_subclass__(cls, **kwargs):
        if "module" in cls.__dict__:
            cls._esm = bundle(cls.module)
        super().__init_subclass__(**kwargs)

    def _repr_mimebundle_(self, **kwargs):
        """The view, and beside it a text that is the same in every run: an address in memory says nothing to a reader."""
        shown = super()._repr_mimebundle_(**kwargs)
        bundles = shown if isinstance(shown, tuple) else (shown,)
        bundles[0]["text/plain"] = repr(self)
        return shown

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def synced(trait: traitlets.TraitType) -> traitlets.TraitType:
    """A trait that the script can read."""
    return trait.tag(sync=True)


def float_bytes(x: Tensor) -> bytes:
    """Real numbers as float32 bytes, little-endian as JavaScript reads them."""
    return x.detach().to(torch.float32).contiguous().cpu().numpy().astype("<f4").tobytes()


def checked_numbers(x: Tensor, name: str) -> Tensor:
    """`x` flat in float32. Raises TypeError unless it is a real tensor, ValueError if it is empty or not finite."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        raise TypeError(f"{name} is a {getattr(x, 'dtype', type(x).__name__)}, expected a tensor of real numbers")
    if not x.numel() or not bool(torch.isfinite(x).all()):
        raise ValueError(f"{name} of shape {tuple(x.shape)} is empty or holds NaN or infinity, expected finite numbers")
    return x.detach().flatten().to(torch.float32)
