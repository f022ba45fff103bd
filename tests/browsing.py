"""A browser for the tests: pages served on this machine, every request watched, every control of every widget moved."""

import http.server
import json
import os
import shutil
import threading
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]
WIDGET = ".qt"


def chromium_path() -> str | None:
    """QT_CHROMIUM if set, else the first Chromium or Chrome on the PATH."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return os.environ.get("QT_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


@contextmanager
def launched():
    """A running Chromium. Skips, saying so, where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api")
    path = chromium_path() or pytest.skip("no Chromium on the PATH: apt-get install chromium, or set QT_CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@contextmanager
def served(folder: Path):
    """The address of a server for the files below `folder`."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


class Watched:
    """A page and everything that went wrong on it."""

    def __init__(self, page, home: str):
        self.page, self.troubles = page, []
        page.on("request", lambda request: self._note(not request.url.startswith((home, "data:", "blob:", "about:")), "asks another host", request.url))
        page.on("response", lambda response: self._note(response.status >= 400, f"status {response.status}", response.url))
        page.on("pageerror", lambda error: self._note(True, "error", str(error)))
        page.on("console", lambda message: self._note(message.type == "error", "console", message.text))

    def _note(self, wrong: bool, kind: str, what: str) -> None:
        if wrong:
            self.troubles.append(f"{kind}: {what}")


@contextmanager
def opened(browser, address: str, width: int = 1280, scheme: str = "light"):
    """A watched page of its own at `address`, closed afterwards."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    watched = Watched(context.new_page(), address.split("/", 3)[0] + "//" + address.split("/", 3)[2] + "/")
    watched.page.goto(address)
    yield watched
    context.close()


def ready(page, count: int = 1) -> list:
    """The widgets of a page, once all `count` of them are drawn."""
    page.wait_for_function(f"document.querySelectorAll('{WIDGET}').length === {count}", timeout=30_000)
    return page.locator(WIDGET).all()


CALL = """async ([source, name, calls]) => {
  const module = await import("data:text/javascript," + encodeURIComponent(source));
  return calls.map((arguments_) => module[name](...arguments_));
}"""


def called(page, source: str, name: str, calls: list) -> list:
    """What the function `name` of the script `source` returns in the page for each of the argument lists."""
    return page.evaluate(CALL, [source, name, calls])


SHOWN = """root => [...root.querySelectorAll(".qt-picture, .qt-facts, .qt-words, .qt-answer")].map(
    part => part.innerHTML + [...part.querySelectorAll("canvas")].map(canvas => canvas.toDataURL()).join("")).join("|")"""


def shown(widget) -> str:
    """What a widget shows now, controls left out."""
    return widget.evaluate(SHOWN)


def move_everything(page, widget) -> int:
    """Move every control of one widget, by keyboard and by mouse, and see that what it shows changes. Returns how many controls moved."""
    widget.scroll_into_view_if_needed()
    return _move_sliders(page, widget) + _press_buttons(page, widget) + _choose_options(page, widget) + _tick_boxes(page, widget)


def _changes(page, widget, act, what: str) -> int:
    before = shown(widget)
    act()
    page.wait_for_function(f"([root, before]) => ({SHOWN})(root) !== before", arg=[widget.element_handle(), before], timeout=5000)
    assert shown(widget) != before, f"{what} changed nothing"
    return 1


def _move_sliders(page, widget) -> int:
    moved = 0
    for slider in widget.locator("input[type=range]").all():
        value, top = float(slider.input_value()), float(slider.get_attribute("max"))
        key = "ArrowRight" if value < top else "ArrowLeft"
        slider.focus()
        moved += _changes(page, widget, lambda key=key: page.keyboard.press(key), f"{key} on {slider.get_attribute('aria-valuetext')}")
        moved += _changes(page, widget, lambda slider=slider: _click_far_side(slider), "a click on a slider")
    return moved


def _click_far_side(slider) -> None:
    """Click where the thumb is not."""
    low, value, top = float(slider.get_attribute("min")), float(slider.input_value()), float(slider.get_attribute("max"))
    box, place = slider.bounding_box(), 0.85 if value - low < top - value else 0.15
    slider.click(position={"x": box["width"] * place, "y": box["height"] / 2})


def _tick_boxes(page, widget) -> int:
    moved = 0
    for box in widget.locator("input[type=checkbox]").all():
        box.focus()
        moved += _changes(page, widget, lambda: page.keyboard.press("Space"), "Space on a box")
        moved += _changes(page, widget, box.click, "a click on a box")
    return moved


def _press_buttons(page, widget) -> int:
    moved = 0
    for button in widget.locator("button").all():
        if not button.is_enabled():
            continue
        button.focus()
        moved += _changes(page, widget, lambda: page.keyboard.press("Enter"), f"the button {button.get_attribute('aria-label')}")
    return moved


def _choose_options(page, widget) -> int:
    moved = 0
    for group in widget.locator("fieldset").all():
        options = group.locator("input[type=radio]")
        if not options.count():
            continue
        options.nth(0).focus()
        if not group.locator("input:checked").count():
            moved += _changes(page, widget, lambda: page.keyboard.press("Space"), "space on the first option")
        group.locator("input:checked").focus()
        for _ in range(options.count() - 1):
            moved += _changes(page, widget, lambda: page.keyboard.press("ArrowDown"), "the arrow to the next option")
        options.nth(0).click(force=True)
        assert options.nth(0).is_checked()
        moved += 1
    return moved


PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Widgets</title>
<link rel="icon" href="data:,"><script src="vendor/require.js"></script><script src="vendor/config.js"></script>
<script src="vendor/embed-amd.js" data-jupyter-widgets-cdn="./vendor/"></script>
<style>@media (prefers-color-scheme: dark) {{ body {{ background: #14181e; color: #e6e6e6 }} }}</style></head><body><main><h1>Widgets</h1>
<script type="application/vnd.jupyter.widget-state+json">{state}</script>{views}</main></body></html>"""


def widget_page(folder: Path, widgets: list) -> None:
    """Write index.html with these widgets as a published notebook saves them, and the scripts that it needs, into `folder`."""
    from ipywidgets.embed import embed_data

    from qtoolkit.lab import fetch, site

    try:
        site.vendor(folder)
    except fetch.DataUnavailable as error:
        pytest.skip(f"the scripts of the site cannot be had: {error}")
    data = embed_data(widgets, drop_defaults=False)
    views = "".join(f'<script type="application/vnd.jupyter.widget-view+json">{json.dumps(view)}</script>' for view in data["view_specs"])
    state = json.dumps(data["manager_state"]).replace("</", "<\\/")
    (folder / "index.html").write_text(PAGE.format(state=state, views=views), encoding="utf-8")


def axe_script() -> str:
    """The accessibility checker that runs inside the page. Skips if it cannot be had."""
    from qtoolkit.lab.fetch import DataUnavailable, Source, fetch
    from qtoolkit.lab.ways import NpmPackage

    source = Source("axe-core", {"axe.min.js": "880970c081707360e64f34cea25ff91892f5bc95675b0776925b9709dd8a68bb"},
                    ways=(NpmPackage("axe-core", "4.10.3", folder="package",
                                     sha256="0f2b4d7dcdf7d1219df8d1959ad68e565f51d14c3f0d88bb71cd59abeb956292"),))
    try:
        return (fetch(source) / "axe.min.js").read_text(encoding="utf-8")
    except DataUnavailable as error:
        pytest.skip(f"axe-core cannot be had: {error}")


def violations(page, within: str) -> list[str]:
    """What axe-core finds serious or critical inside the element `within`."""
    if not page.evaluate("Boolean(window.axe)"):
        page.evaluate("source => { const define = undefined; (0, eval)('var define = undefined; ' + source); }", axe_script())
    found = page.evaluate("within => axe.run(within, { resultTypes: ['violations'] })", within)["violations"]
    return [f"{rule['id']}: {rule['help']}: {node['html'][:160]}" for rule in found if rule["impact"] in ("serious", "critical")
            for node in rule["nodes"]]


def sideways_scroll(page) -> int:
    """Pixels by which the page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def reads_well_on_a_phone(browser, address: str, scheme: str, count: int = 1) -> None:
    """On a narrow screen the checker finds nothing serious in the page's `count` widgets, and nothing scrolls sideways."""
    with opened(browser, address, width=360, scheme=scheme) as watched:
        ready(watched.page, count)
        assert violations(watched.page, "main") == []
        assert sideways_scroll(watched.page) == 0
