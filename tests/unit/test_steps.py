"""The bounds of the harness's waits."""

import pytest

from mooring_dev import kubectl, steps


def test_a_wait_has_its_bound_unless_patience_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MOORING_DEV_PATIENCE", raising=False)
    assert steps.patient(20) == 20
    monkeypatch.setenv("MOORING_DEV_PATIENCE", "2.5")
    assert steps.patient(20) == 50
    assert kubectl.bound(60) == "--timeout=150s"


@pytest.mark.parametrize("factor", ["", "0", "0.1", "-2", "nan", "inf", "1000", "much"])
def test_a_factor_that_is_none_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, factor: str
) -> None:
    monkeypatch.setenv("MOORING_DEV_PATIENCE", factor)
    with pytest.raises(steps.DevError, match="a number from 1 to 999"):
        steps.patient(20)
