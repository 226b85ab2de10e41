"""How far work is, how long it takes, and how it is held back; on a clock of the test's own."""

import pytest

from mooring.backup import progress
from mooring.domain import errors


class Time:
    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    found = Time()
    monkeypatch.setattr(progress, "time", found)
    return found


def test_rate_and_time_left(time: Time) -> None:
    meter = progress.ProgressMeter(progress.Watch(), 1000)
    assert (meter.progress.bytes_per_second, meter.progress.seconds_left) == (0, None)
    time.now += 10
    meter.add(done=250, read=200)
    assert (meter.progress.percent, meter.progress.bytes_per_second) == (25.0, 20)
    assert meter.progress.seconds_left == 30
    time.now += 30
    meter.add(done=750, read=100)
    assert (meter.progress.percent, meter.progress.seconds_left) == (100.0, 0)


def test_it_is_held_back_and_can_be_stopped_meanwhile(time: Time) -> None:
    stops_at = [float("inf")]
    watch = progress.Watch(cancelled=lambda: time.now >= stops_at[0], bytes_per_second=100)
    meter = progress.ProgressMeter(watch, 10_000)
    meter.hold_back(500)
    assert time.slept == []
    meter.hold_back(500)
    assert time.now == pytest.approx(1005)
    assert max(time.slept) <= 0.2
    stops_at[0] = 1006
    with pytest.raises(errors.Cancelled):
        meter.hold_back(500)
    assert time.now == pytest.approx(1006, abs=0.3)


def test_nothing_holds_back_what_has_no_limit(time: Time) -> None:
    meter = progress.ProgressMeter(progress.Watch(), 10)
    meter.hold_back(1 << 40)
    assert time.slept == []


def test_a_pass_after_others_goes_on_where_they_ended(time: Time) -> None:
    shown: list[progress.Progress] = []
    watch = progress.Watch(report=shown.append, interval_seconds=0)
    first = progress.ProgressMeter(watch, 1000, passes=2)
    time.now += 10
    first.add(done=400, read=400)
    second = progress.ProgressMeter(progress.afterwards(watch, first.progress), 1000)
    time.now += 10
    second.add(done=500, read=100)
    second.add(done=500, read=100, sent=7)
    second.finish()
    assert [one.percent for one in shown] == [20, 75, 100, 100]
    assert [one.read for one in shown] == [400, 500, 600, 600]
    assert (shown[-1].elapsed_seconds, shown[-1].sent, shown[-1].seconds_left) == (20, 7, 0)
    assert second.progress.read == 200
