"""Widgets that stay live on a page without a kernel: the data come from torch, the drawing and its arithmetic travel as a script.

The scripts are in `esm/`; `bundle.py` makes one out of several. Arithmetic that a control drives is in `esm/maths.js` and is compared
with torch bit for bit. Whatever needs a network is computed beforehand and travels as frames.
"""

from qtoolkit.lab.widgets.audit import AccuracyAgainstSize, ForgottenBytes
from qtoolkit.lab.widgets.base import Widget
from qtoolkit.lab.widgets.brightness import Brightness
from qtoolkit.lab.widgets.codebooks import GridLevels, KMeansSettles
from qtoolkit.lab.widgets.digits import BitsAndAccuracy, NetworkOnDigits, PixelBits
from qtoolkit.lab.widgets.file_bytes import FileBytes, Stage, WhereTheBytesGo
from qtoolkit.lab.widgets.huffman_tree import HuffmanTree
from qtoolkit.lab.widgets.kernel_steps import KernelSteps
from qtoolkit.lab.widgets.number_line import NumberLine
from qtoolkit.lab.widgets.outlier import OneOutlier
from qtoolkit.lab.widgets.pruning import GapAndFiller
from qtoolkit.lab.widgets.quiz import Quiz, quiz
from qtoolkit.lab.widgets.ranges import ClipRange, KLView
from qtoolkit.lab.widgets.roofline import Roofline
from qtoolkit.lab.widgets.scale_sharing import ScaleSharing
from qtoolkit.lab.widgets.shared_values import SumTheGradients
from qtoolkit.lab.widgets.starts import KMeansStarts
from qtoolkit.lab.widgets.threshold import PullTheThreshold
from qtoolkit.lab.widgets.vector_plane import VectorPlane

__all__ = ["AccuracyAgainstSize", "BitsAndAccuracy", "Brightness", "ClipRange", "FileBytes", "ForgottenBytes", "GapAndFiller", "GridLevels", "HuffmanTree", "KLView", "KMeansSettles", "KMeansStarts", "KernelSteps", "NetworkOnDigits", "NumberLine", "OneOutlier", "PixelBits", "PullTheThreshold", "Quiz", "Roofline", "ScaleSharing", "Stage", "SumTheGradients", "VectorPlane", "WhereTheBytesGo", "Widget", "quiz"]
