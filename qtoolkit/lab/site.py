"""Build the published book: a static site whose widgets live without a kernel and that asks no other host for anything.

The scripts that Jupyter Book would load from other hosts (RequireJS, the widget manager, MathJax) are fetched once, checked
by hash, and copied beside the pages, as is anywidget's own script from the installed package.
"""

import importlib.resources
import re
import shutil
import subprocess
import sys
from pathlib import Path

from qtoolkit.lab.fetch import DataUnavailable, Source, fetch
from qtoolkit.lab.ways import NpmPackage

BOOK = Path(__file__).resolve().parents[2] / "book"
SCRIPTS = (
    Source("requirejs", {"require.js": "c1fc6b1d53af7522f78d664922abb32acac64ed0ecccb8f907f1e6fc7262563a"},
           ways=(NpmPackage("requirejs", "2.3.8", folder="package",
                            sha256="777158e89275e16bd51aec3ef714fbcb5dc45789e7078659933bc814916d7dec"),)),
    Source("html-manager", {
        "embed-amd.js": "ca87dff57c70ffb2658794fde0eab0e27e5f5472a1f5df7ab2b08e1039fc4b72",
        "1551f4f60c37af51121f.woff2": "9834b82ad26e2a37583d22676a12dd2eb0fe7c80356a2114d0db1aa8b3899537",
    },
           ways=(NpmPackage("@jupyter-widgets/html-manager", "1.0.15", folder="package/dist",
                            sha256="2b9d65cb7913e1c7d671757a10008b32c9c2448d4429513371e55c07d6107638"),)),
    Source("mathjax", {"tex-mml-svg.js": "1f17a7ed95ff4a4b27d16bf0fb5f80b915686ee8673e82983a2876ecf8cb9fae"},
           ways=(NpmPackage("mathjax", "3.2.2", folder="package/es5",
                            sha256="1b9c0a1c44df864e915690558e72adb9cc5203360daefd385084ced3b6c64c09"),)),
)


CONFIG = """\
// Tell RequireJS where this site keeps anywidget, wherever the site itself is served from.
require.config({ paths: { anywidget: document.currentScript.src.replace(/config\\.js.*$/, "anywidget") } });
"""
ICON_FONT = "1551f4f60c37af51121f.woff2"
# The widget manager looks for its icons below the page's own folder, in one place or the other: whichever of its modules comes up first.
ICON_PLACES = ("chapters/@jupyter-widgets/html-manager/dist", "chapters/@jupyter-widgets")
# Live cells on a remote server: never used here, and loaded twice by the theme, which stops its script with an error.
THEBE = re.compile(r"<script>const THEBE_JS_URL.*?</script>|<script[^>]*sphinx-thebe\.js[^>]*></script>"
                   r"|<script type=\"text/x-thebe-config\">.*?</script>|<script>kernelName = .*?</script>", flags=re.S)


def vendor(root: Path) -> None:
    """Put every script that the pages need into `root`. Raises DataUnavailable if one cannot be had."""
    folder, icons = root / "vendor", [root / place for place in ICON_PLACES]
    for place in (folder, *icons):
        place.mkdir(parents=True, exist_ok=True)
    for source in SCRIPTS:
        home = fetch(source)
        for name in source.files:
            for place in icons if name == ICON_FONT else [folder]:
                shutil.copyfile(home / name, place / name)
    (folder / "config.js").write_text(CONFIG)
    anywidget = importlib.resources.files("anywidget") / "nbextension" / "index.js"
    (folder / "anywidget.js").write_bytes(anywidget.read_bytes())


def _mended(html: str) -> str:
    """A page without what its theme gets wrong: scripts loaded twice, a bibliography that calls itself a list and has no items."""
    return THEBE.sub("", html).replace('<div role="list" class="citation-list">', '<div class="citation-list">')


def build(book: Path = BOOK, out: Path | None = None) -> Path:
    """Build `book` below `out` (default: `book` itself) with warnings as errors; returns the folder of HTML pages."""
    vendor(book / "_site")
    out = out or book
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build",
               "-W", "--keep-going", "--path-output", str(out), str(book)]
    if subprocess.run(command).returncode:
        raise RuntimeError("the book was not built: each warning above is an error; mend it and run `make site` again")
    pages = out / "_build" / "html"
    for page in pages.rglob("*.html"):
        page.write_text(_mended(page.read_text(encoding="utf-8")), encoding="utf-8")
    return pages


def main() -> int:
    try:
        print(f"The site is in {build()}: open index.html through a web server, for instance with `make serve`.")
    except (DataUnavailable, RuntimeError) as error:
        print(f"{error}\nThe site needs npm, to fetch the scripts that it then serves itself.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
