"""A trained network is changed without training it again.

    deployable = fold_batch_norms(model)     batch norms become part of the layer before them     fold.py
"""

from qtoolkit.posttraining.fold import fold_batch_norms

__all__ = ["fold_batch_norms"]
