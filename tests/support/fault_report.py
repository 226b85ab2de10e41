"""Where the fault tests leave how many points they tried, for the end of the report."""

import pytest

LINES: pytest.StashKey[list[str]] = pytest.StashKey()
