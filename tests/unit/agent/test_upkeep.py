"""How often the agent looks, whatever a look takes."""

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from mooring.agent import upkeep

LOOK_SECONDS = 0.4


class SlowWatch:
    """Looks that take their time, as they do in a large or a busy pool."""

    def __init__(self) -> None:
        self.begun: list[float] = []
        self.enough = threading.Event()

    def check(self, **_: Any) -> list[str]:
        self.begun.append(time.monotonic())
        time.sleep(LOOK_SECONDS)
        if len(self.begun) >= 3:
            self.enough.set()
        return []


@pytest.mark.parametrize(
    ("watch", "name", "interval_seconds"),
    [
        (upkeep.space_watch, "space_watch", upkeep._SPACE_WATCH_SECONDS),
        (upkeep.pool_watch, "pool_watch", upkeep._POOL_WATCH_SECONDS),
    ],
)
def test_a_watch_whose_look_takes_long_does_not_rest_longer(
    watch: Any, name: str, interval_seconds: float
) -> None:
    slow = SlowWatch()
    work = watch(SimpleNamespace(**{name: slow}), lambda: None)
    work.start()
    try:
        assert slow.enough.wait(20)
    finally:
        work.stop()
    rest_seconds = (slow.begun[2] - slow.begun[0]) / 2 - LOOK_SECONDS
    assert rest_seconds < interval_seconds + 0.25
