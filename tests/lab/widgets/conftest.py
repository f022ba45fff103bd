"""One browser for the tests of a widget, and an empty page in it for arithmetic."""

import pytest
from browsing import launched


@pytest.fixture(scope="module")
def browser():
    with launched() as running:
        yield running


@pytest.fixture(scope="module")
def page(browser):
    return browser.new_page()
