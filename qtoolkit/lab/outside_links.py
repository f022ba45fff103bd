"""A Sphinx extension for the book: a link to a notebook outside the book becomes a download.

Chapters link their exercises as `../../exercises/NAME/exercises.ipynb`, which JupyterLab opens. The site has no kernel to run an
exercise with, so there the same link downloads the notebook.
"""

import os
import posixpath
import shutil
from pathlib import Path

from docutils import nodes
from sphinx import addnodes


def mend(app, doctree) -> None:
    """Turn each reference to a notebook that lies outside the book into a link to the copy that `copy` makes."""
    here = posixpath.dirname(app.env.docname)
    for reference in list(doctree.findall(addnodes.pending_xref)):
        source = Path(app.srcdir, reference["reftarget"] + ".ipynb").resolve()
        if reference.get("refdomain") != "doc" or not _outside(app, source):
            continue
        place = source.relative_to(Path(app.srcdir).resolve().parent).as_posix()
        app.env.outside[place] = str(source)
        link = nodes.reference("", "", *reference.children, refuri=posixpath.relpath(place, here or "."), internal=False)
        link["classes"].append("download")
        reference.replace_self(link)


def _outside(app, source: Path) -> bool:
    book = Path(app.srcdir).resolve()
    return source.is_file() and not source.is_relative_to(book) and source.is_relative_to(book.parent)


def prepare(app) -> None:
    if not hasattr(app.env, "outside"):
        app.env.outside = {}


def copy(app, exception) -> None:
    """Put the linked notebooks beside the pages."""
    for place, source in app.env.outside.items() if exception is None else ():
        target = Path(app.outdir, place)
        os.makedirs(target.parent, exist_ok=True)
        shutil.copyfile(source, target)


def setup(app) -> dict:
    app.connect("builder-inited", prepare)
    app.connect("doctree-read", mend)
    app.connect("build-finished", copy)
    return {"parallel_read_safe": False}
