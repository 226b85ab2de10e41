"""Prints how many points of each operation were tried."""

import pytest

from support import fault_report


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    lines = config.stash.get(fault_report.LINES, [])
    if lines:
        terminalreporter.section("system calls at which operations were broken off")
        for line in lines:
            terminalreporter.write_line(line)
