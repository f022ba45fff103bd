"""What every test shares: one thread, no silent skips in continuous integration, derandomized hypothesis."""

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")
if sys.version_info < (3, 12):  # torch.compile loads the standard distutils; setuptools, loaded later by nbgrader, must not object
    os.environ.setdefault("SETUPTOOLS_USE_DISTUTILS", "stdlib")

import hypothesis
import pytest

hypothesis.settings.register_profile("course", deadline=None, derandomize=True, max_examples=60)
hypothesis.settings.load_profile("course")

REQUIRE_ALL = os.environ.get("QT_REQUIRE_ALL") == "1"


def _refuse_skip(report) -> None:
    """Turn a skip into a failure, unless it says that the hardware itself is missing."""
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if REQUIRE_ALL and report.skipped and "hardware:" not in reason and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"QT_REQUIRE_ALL=1 and this was skipped: {reason}"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    _refuse_skip(outcome.get_result())


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector):
    outcome = yield
    _refuse_skip(outcome.get_result())
