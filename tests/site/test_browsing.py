"""The browser tests can fail: a page with every fault they look for is caught at each."""

import pytest
from browsing import launched, move_everything, opened, served, sideways_scroll, violations

FAULTY = """<!doctype html><html lang="en"><title>Faults</title><link rel="icon" href="data:,"><body><main>
<section class="qt" aria-label="dead"><input type="range" min="0" max="9" aria-label="dead slider"><p class="qt-words">always the same</p></section>
<p style="color: #ddd; background: #fff">pale</p><div style="width: 3000px">wide</div><img src="http://127.0.0.2:9/outside.png" alt="a picture from elsewhere">
<script src="missing.js"></script><script>console.error("said so"); throw Error("thrown");</script></main></body></html>"""


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faulty")
    (folder / "index.html").write_text(FAULTY)
    with launched() as browser, served(folder) as home, opened(browser, home) as watched:
        yield watched


def test_troubles_are_noticed(faulty):
    troubles = "\n".join(faulty.troubles)
    for sign in ("asks another host: http://127.0.0.2:9/outside.png", "status 404", "console: said so", "thrown"):
        assert sign in troubles


def test_a_dead_control_is_noticed(faulty):
    from playwright.sync_api import TimeoutError

    with pytest.raises(TimeoutError):
        move_everything(faulty.page, faulty.page.locator(".qt"))


def test_a_wide_page_and_pale_letters_are_noticed(faulty):
    assert sideways_scroll(faulty.page) > 1000
    assert any(fault.startswith("color-contrast") for fault in violations(faulty.page, "main"))
