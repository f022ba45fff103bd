"""The published book, built once and driven in a browser: no other host, no errors, every widget alive, readable by everybody."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from browsing import WIDGET, launched, move_everything, opened, served, sideways_scroll, violations

ROOT = Path(__file__).resolve().parents[2]
BOOK = ROOT / "book"
CHAPTERS = sorted(path.stem for path in (BOOK / "chapters").glob("*.ipynb"))
PAGES = ["intro.html", "architecture.html", "references.html", *(f"chapters/{name}.html" for name in CHAPTERS)]


def _listed(contents) -> list[str]:
    """Every file that a table of contents names, in order."""
    if isinstance(contents, list):
        return [name for entry in contents for name in _listed(entry)]
    if isinstance(contents, dict):
        return ([contents["file"]] if "file" in contents else []) + [name for value in contents.values() for name in _listed(value)]
    return []


def test_the_table_of_contents_lists_every_chapter_in_order():
    listed = [name for name in _listed(yaml.safe_load((BOOK / "_toc.yml").read_text())) if name.startswith("chapters/")]
    assert listed == [f"chapters/{name}" for name in CHAPTERS]


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """The folder of pages, built with warnings as errors from a copy, so that two builds never meet."""
    from qtoolkit.lab import fetch, site

    home = tmp_path_factory.mktemp("project")
    shutil.copytree(BOOK, home / "book", ignore=shutil.ignore_patterns("_build", "_site", ".ipynb_checkpoints"))
    shutil.copytree(ROOT / "exercises", home / "exercises")
    shutil.copyfile(ROOT / "CONTRIBUTING.md", home / "CONTRIBUTING.md")
    try:
        return site.build(home / "book")
    except fetch.DataUnavailable as error:
        pytest.skip(f"the scripts of the site cannot be had: {error}")


@pytest.fixture(scope="module", params=["", "below/a/folder/"], ids=["root", "subpath"])
def home(built, request, tmp_path_factory):
    """The address of the site, at the root of a server and deep below it."""
    folder = tmp_path_factory.mktemp("server")
    place = folder / request.param
    place.parent.mkdir(parents=True, exist_ok=True)
    if request.param:
        place.symlink_to(built, target_is_directory=True)
    with served(folder if request.param else built) as address:
        yield address + request.param


@pytest.fixture(scope="module")
def browser():
    with launched() as running:
        yield running


def _views(page: str) -> int:
    """How many widgets the notebook behind a page shows."""
    if not page.startswith("chapters/"):
        return 0
    notebook = json.loads((BOOK / page).with_suffix(".ipynb").read_text())
    return sum("application/vnd.jupyter.widget-view+json" in output.get("data", {}) for cell in notebook["cells"] for output in cell.get("outputs", []))


def _settled(page, name: str):
    """Wait until formulas and widgets are drawn; return the widgets."""
    page.wait_for_function(f"document.querySelectorAll('{WIDGET}').length === {_views(name)}", timeout=60_000)
    page.wait_for_function("window.MathJax?.startup?.promise !== undefined || !document.querySelector('.math')", timeout=60_000)
    page.evaluate("window.MathJax?.startup?.promise")
    return page.locator(WIDGET).all()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_asks_no_other_host_and_every_control_moves_something(browser, home, name):
    with opened(browser, home + name) as watched:
        widgets = _settled(watched.page, name)
        for widget in widgets:
            assert move_everything(watched.page, widget) > 0, f"{widget.get_attribute('aria-label')} has no controls"
        assert watched.troubles == []


@pytest.mark.parametrize("name", PAGES)
def test_formulas_are_set(browser, home, name):
    with opened(browser, home + name) as watched:
        _settled(watched.page, name)
        formulas = watched.page.locator(".math").count()
        assert watched.page.locator(".math mjx-container svg").count() >= formulas
        assert watched.page.locator("mjx-merror, [data-mml-node=merror]").count() == 0
        words = watched.page.locator("article").inner_text()
        assert not re.search(r"\\(?:frac|mathrm|left|begin)\b", words)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_a_phone_and_the_accessibility_checker(browser, built, name):
    with served(built) as home:
        for width, scheme in ((375, "dark"), (1280, "light")):
            with opened(browser, home + name, width=width, scheme=scheme) as watched:
                _settled(watched.page, name)
                assert sideways_scroll(watched.page) == 0
                assert watched.page.locator("html").get_attribute("data-theme") == scheme
                assert violations(watched.page, "main") == []


def test_links_inside_the_site_lead_somewhere(built):
    for page in built.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r'<a[^>]+href="([^"#?]+)', text):
            if not re.match(r"[a-z]+:", target):
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_exercises_can_be_downloaded(built):
    for name in CHAPTERS:
        linked = re.findall(r'href="(\.\./exercises/[^"]+\.ipynb)"', (built / f"chapters/{name}.html").read_text(encoding="utf-8"))
        assert linked, name
        for target in linked:
            copied = (built / "chapters" / target).resolve()
            assert copied.read_bytes() == (built.parents[2] / copied.relative_to(built.resolve())).read_bytes()


def test_the_front_page_leads_to_the_first_chapter(built):
    assert 'href="chapters/00-start-here.html"' in (built / "intro.html").read_text(encoding="utf-8")
    assert "intro.html" in (built / "index.html").read_text(encoding="utf-8")


def test_pages_stay_light(built):
    for page in built.rglob("*.html"):
        assert page.stat().st_size < 3_000_000, f"{page.name}: {page.stat().st_size:,} bytes"
