"""A compressed file under the cursor, byte by byte; and where its bytes went, stage by stage."""

from collections.abc import Sequence
from dataclasses import dataclass

import traitlets

from qtoolkit.lab.anatomy import fields
from qtoolkit.lab.widgets.base import Widget, synced

MOST_BYTES = 1024  # a hex view that a phone can scroll


class FileBytes(Widget):
    """Hex view of a small compressed file. Controls: the byte under the cursor, and what is done to the file there (nothing, a flipped bit, a cut).

    data: the file; name: what is in it; at: cursor at first. Raises BadFile for a damaged file, ValueError for more than 1,024 bytes or
    a cursor outside.
    """

    module = "file_bytes.js"
    data = synced(traitlets.Bytes())
    fields = synced(traitlets.List())
    name = synced(traitlets.Unicode())
    at = synced(traitlets.Int())

    def __init__(self, data: bytes, name: str = "a compressed file", at: int = 0):
        if len(data) > MOST_BYTES or not 0 <= at < len(data):
            raise ValueError(f"given {len(data)} bytes and at={at}, expected at most {MOST_BYTES} bytes and a cursor inside")
        parts = [[f.start, f.end, f.section, f.kind, f.label, f.value] for f in fields(data)]
        super().__init__(data=data, fields=parts, name=name, at=at)


@dataclass(frozen=True)
class Stage:
    """What a network weighs after one stage. rows: {layer: {part: bytes}}, every layer with the same parts; error_percent: measured."""

    name: str
    rows: dict[str, dict[str, int]]
    error_percent: float

    @property
    def nbytes(self) -> int:
        """All bytes of all layers."""
        return sum(sum(parts.values()) for parts in self.rows.values())


class WhereTheBytesGo(Widget):
    """Stacked bars, one for each layer: how many bytes each part takes. Controls: the stage, and the scale of the bars.

    Raises ValueError for fewer than 2 stages, stages of other layers or parts than the first, or bytes below 0.
    """

    module = "where_bytes_go.js"
    stages = synced(traitlets.List())
    layers = synced(traitlets.List())
    parts = synced(traitlets.List())
    name = synced(traitlets.Unicode())
    at = synced(traitlets.Int())

    def __init__(self, stages: Sequence[Stage], name: str = "the network", at: int = 0):
        if len(stages) < 2 or at not in range(len(stages)):
            raise ValueError(f"given {len(stages)} stages and at={at}, expected at least 2 and one of them to begin with")
        layers, parts = list(stages[0].rows), list(next(iter(stages[0].rows.values())))
        for stage in stages:
            if list(stage.rows) != layers or any(list(row) != parts for row in stage.rows.values()):
                raise ValueError(f"stage '{stage.name}' has the layers {list(stage.rows)}, expected {layers}, each with the parts {parts}")
            if any(size < 0 for row in stage.rows.values() for size in row.values()):
                raise ValueError(f"stage '{stage.name}' has a part of fewer than 0 bytes, expected sizes of files")
        super().__init__(layers=layers, parts=parts, name=name, at=at, stages=[
            [stage.name, float(stage.error_percent), [[int(size) for size in row.values()] for row in stage.rows.values()]] for stage in stages])
