"""What every tier needs: a log that no earlier test has closed, and examples without a clock."""

from collections.abc import Iterator

import hypothesis
import pytest
import structlog

# How long an example takes says more of the machine's load than of the code.
hypothesis.settings.register_profile(
    "any-load", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any-load")


@pytest.fixture(autouse=True)
def _log_of_its_own() -> Iterator[None]:
    yield
    structlog.reset_defaults()
