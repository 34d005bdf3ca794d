"""A pytest plugin: the fixture `oracle`, whose checks are recorded, and `pytest --pgref-report=FILE`.

pytest loads it at every start, so nothing here loads NumPy before a test asks for the fixture.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import pytest

PROPERTY = "pgref"  # under which a test's reports travel, from a worker process too


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    group = parser.getgroup("pgref", "the oracle of pgref")
    group.addoption("--pgref-report", metavar="FILE", help="write the oracle's reports of this session")


def pytest_configure(config: pytest.Config) -> None:
    """Collect the reports if they are asked for, in the process that writes them."""
    path = config.getoption("--pgref-report")
    if path and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Writer(path), "pgref-writer")


class Writer:
    """Collects the reports that tests recorded, and writes them when the session ends."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take what a test recorded, once it is over."""
        if report.when == "teardown":
            rows = (value for key, value in report.user_properties if key == PROPERTY)
            self.rows += [{"test": report.nodeid, **dict(row)} for row in rows]  # type: ignore[call-overload]

    def pytest_sessionfinish(self) -> None:
        """Write the file, whole or not at all."""
        from pgref.oracle.files import write_reports

        write_reports(self.path, self.rows)


class Recorder:
    """The module `pgref.oracle`, with checks that also record their reports for the running test."""

    def __init__(self, node: pytest.Item) -> None:
        self._node = node

    def __getattr__(self, name: str) -> Any:
        from pgref import oracle
        from pgref.oracle.families import check_names

        value = getattr(oracle, name)
        return self._recorded(value) if name in check_names() else value

    def _recorded(self, check: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(check)
        def recorded(*arguments: Any, **options: Any) -> Any:
            report = check(*arguments, **options)
            self._node.user_properties.append((PROPERTY, report.as_json()))
            if not report.ok:
                self._node.add_report_section("call", "oracle", str(report))
            return report

        return recorded


@pytest.fixture
def oracle(request: pytest.FixtureRequest) -> Recorder:
    """Return the checks of `pgref.oracle`: `assert oracle.gae(my_gae).ok`."""
    return Recorder(request.node)
