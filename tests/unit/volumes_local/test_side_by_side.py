"""A pool that does not answer keeps nobody else waiting."""

import threading
import time
from collections.abc import Iterator

import pytest

from mooring.domain import ids
from mooring.volumes.local.side_by_side import SideBySide

DEAD, LIVE = ids.PoolName("dead"), ids.PoolName("live")


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """Set at the end, so that no thread is left."""
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.parametrize("alone", [True, False])
def test_one_that_hangs_is_waited_for_once(released: threading.Event, alone: bool) -> None:
    asked: list[str] = []

    def hang() -> str:
        asked.append("dead")
        released.wait(60)
        return "late"

    looks = SideBySide[str]("look", alone=alone)
    assert looks.ask({DEAD: hang, LIVE: lambda: "here"}, 0.3) == {LIVE: "here"}
    began = time.monotonic()
    for _ in range(20):
        assert looks.ask({DEAD: hang, LIVE: lambda: "here"}, 0.3) == {LIVE: "here"}
    assert time.monotonic() - began < 0.3
    assert asked == ["dead"], "no thread more is lost to it"
    released.set()
    while looks.ask({DEAD: lambda: "back"}, 5) != {DEAD: "back"}:
        time.sleep(0.01)


def test_two_who_ask_at_once_both_get_an_answer_unless_it_is_alone(
    released: threading.Event,
) -> None:
    both, alone = SideBySide[int]("look", alone=False), SideBySide[int]("look", alone=True)
    for looks, second in ((both, {LIVE: 2}), (alone, {})):
        entered = threading.Event()

        def first(entered: threading.Event = entered) -> int:
            entered.set()
            released.wait(60)
            return 1

        slow = threading.Thread(target=looks.ask, args=({LIVE: first}, 60.0))
        slow.start()
        assert entered.wait(10)
        assert looks.ask({LIVE: lambda: 2}, 30) == second
        released.set()
        slow.join(10)
        released.clear()


def test_what_a_look_raises_is_raised_after_all_have_ended() -> None:
    ended: list[str] = []

    def fail() -> None:
        raise ZeroDivisionError

    def slow() -> None:
        time.sleep(0.1)
        ended.append("slow")

    with pytest.raises(ZeroDivisionError):
        SideBySide[None]("look", alone=True).ask({DEAD: fail, LIVE: slow}, 5)
    assert ended == ["slow"]
