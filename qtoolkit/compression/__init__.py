"""Deep Compression: prune, share, index, entropy-code, and write the network as one real file (Han, Mao, Dally 2016).

    prune_, Masks, GradualPruning      which weights stay, and how the others stay zero       pruning.py
    share_, unshare_, share            a few values a layer, trained by the summed gradient   weight_sharing.py
    relative_index, csr, csc           where the weights are                                  sparse_index.py
    HuffmanCode, encode, decode        codes as short as their frequencies allow              huffman.py
    Mixer, encode_codes                beyond Huffman: adaptive arithmetic coding             arithmetic.py, context.py
    compress, decompress, inspect      a model, one file, the model again                     pipeline.py
    load_sparse                        a model that computes from the compressed weights      sparse_layers.py

    >>> import tempfile, torch
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
    >>> path = tempfile.mkdtemp() + "/net.qtdc"
    >>> report = compress(model, path, Recipe(LayerRecipe(density=0.1, bits=4, index_bits=6)))
    >>> report.bytes < report.dense_bytes / 20
    True
    >>> int((decompress(path)[1].weight != 0).sum())
    784
"""

from qtoolkit.compression.container import BadFile
from qtoolkit.compression.pipeline import (ContextRecipe, LayerRecipe, Recipe, compress, decompress, evaluate, evaluated,
                                           inspect, paper_recipe)
from qtoolkit.compression.pruning import GradualPruning, Masks, prune_, sensitivity_scan
from qtoolkit.compression.report import LayerReport, Report
from qtoolkit.compression.sections import best_index_bits
from qtoolkit.compression.sparse_layers import load_sparse
from qtoolkit.compression.songhan import caffe_alexnet, import_songhan
from qtoolkit.compression.weight_sharing import share, share_, unshare_

__all__ = ["BadFile", "ContextRecipe", "GradualPruning", "LayerRecipe", "LayerReport", "Masks", "Recipe", "Report", "best_index_bits",
           "caffe_alexnet", "compress", "decompress", "evaluate", "evaluated", "import_songhan", "inspect", "load_sparse", "paper_recipe", "prune_", "sensitivity_scan", "share",
           "share_", "unshare_"]
