"""One browser for the tests of a widget, an empty page in it for arithmetic, and a page with the widgets of the test file."""

import pytest
from browsing import launched, served, widget_page


@pytest.fixture(scope="module")
def browser():
    with launched() as running:
        yield running


@pytest.fixture(scope="module")
def page(browser):
    return browser.new_page()


@pytest.fixture(scope="module")
def home(tmp_path_factory, widgets):
    """The address of a page with the `widgets` that a test file gives."""
    folder = tmp_path_factory.mktemp("page")
    widget_page(folder, widgets)
    with served(folder) as address:
        yield address
