"""Two widgets of the audit: the bytes that a careless ratio forgets, and the error that every size costs."""

from collections.abc import Mapping, Sequence

import traitlets

from qtoolkit.lab.widgets.base import Widget, synced

BOXES = {"header": ("header",), "Huffman tables": ("tables",), "codebooks": ("codebooks",), "biases": ("biases",),
         "fillers": ("filler codes", "filler gaps"), "index": ("gaps", "filler gaps")}
MOST_POINTS = 16  # on one curve


class ForgottenBytes(Widget):
    """One file and six boxes: each forgets a part, and the ratio grows; the honest one stays marked.

    ledger: bytes of the file by part, from `qtoolkit.lab.forgotten.ledger`; dense_bytes: of the network uncompressed. Raises ValueError for
    a ledger with other parts, sizes below 0, or a dense network that is no larger than the file.
    """

    module = "forgotten_bytes.js"
    parts = synced(traitlets.List())
    boxes = synced(traitlets.List())
    dense = synced(traitlets.Int())
    name = synced(traitlets.Unicode())

    def __init__(self, ledger: Mapping[str, int], dense_bytes: int, name: str = "a compressed network"):
        expected = {part for parts in BOXES.values() for part in parts} | {"codes"}
        if set(ledger) != expected or any(size < 0 for size in ledger.values()):
            raise ValueError(f"the ledger is {dict(ledger)}, expected sizes of at least 0 for {sorted(expected)}")
        if not 0 < sum(ledger.values()) < dense_bytes:
            raise ValueError(f"the file has {sum(ledger.values())} bytes and the dense network {dense_bytes}, expected a smaller file that is not empty")
        super().__init__(parts=[[part, int(size)] for part, size in ledger.items()], boxes=[[box, list(parts)] for box, parts in BOXES.items()],
                         dense=int(dense_bytes), name=name)


class AccuracyAgainstSize(Widget):
    """Error against compression ratio, one curve a method. Controls: the curve, a point on it, a limit on the error.

    curves: {method: points}, each a dict with ratio, held_out_percent, test_percent and recipe, as `compression-curves.json` has them;
    dense_percent: held-out error of the dense network. Raises ValueError without curves, for a curve of fewer than 2 or more than 16
    points, and for ratios or errors that are not positive.
    """

    module = "accuracy_size.js"
    curves = synced(traitlets.List())
    dense = synced(traitlets.Float())
    limit = synced(traitlets.Float())

    def __init__(self, curves: Mapping[str, Sequence[Mapping]], dense_percent: float, limit: float = 2.0):
        if not curves or dense_percent <= 0:
            raise ValueError(f"given {len(curves)} curves and a dense error of {dense_percent}, expected at least one curve and an error above 0")
        for method, points in curves.items():
            if not 2 <= len(points) <= MOST_POINTS or any(point["ratio"] <= 0 or point["held_out_percent"] <= 0 for point in points):
                raise ValueError(f"'{method}' has {len(points)} points, expected 2 to {MOST_POINTS} with ratios and errors above 0")
        keys = ("ratio", "held_out_percent", "test_percent", "recipe")
        super().__init__(dense=float(dense_percent), limit=float(limit),
                         curves=[[method, [[point[key] for key in keys] for point in points]] for method, points in curves.items()])
