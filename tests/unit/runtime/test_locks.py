import threading

import pytest

from mooring.domain import errors
from mooring.runtime.locks import ThreadLocks


def test_a_held_key_is_busy_at_once_and_free_afterwards():
    locks = ThreadLocks()
    with locks.hold("a", "b"):
        with pytest.raises(errors.Busy, match="another operation on b"), locks.hold("b", "c"):
            pytest.fail("b was held twice")
        with locks.hold("c"):
            pass  # the refused call left nothing behind
    with locks.hold("a", "b", "c"):
        pass


def test_an_error_inside_frees_the_keys():
    locks = ThreadLocks()
    with pytest.raises(ZeroDivisionError), locks.hold("a"):
        raise ZeroDivisionError
    with locks.hold("a"):
        pass


def test_only_one_of_many_threads_gets_a_key():
    locks, inside, most = ThreadLocks(), [], []
    start = threading.Barrier(16)

    def work():
        start.wait()
        for _ in range(200):
            try:
                with locks.hold("a"):
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()
            except errors.Busy:
                continue

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) == {1}


def test_an_operation_waits_for_a_moment_of_background_work_which_then_gives_way():
    locks, order = ThreadLocks(), []
    waiting = threading.Event()

    def operate():
        waiting.set()
        with locks.hold("a", "b"):
            order.append("operation")

    thread = threading.Thread(target=operate)
    with locks.hold_for_a_moment("a"):
        thread.start()
        waiting.wait()
        while not locks._wanted["a"]:
            thread.join(0.001)
        with pytest.raises(errors.Busy, match="waits"), locks.hold_for_a_moment("a"):
            pytest.fail("background work went first")
        order.append("background")
    thread.join()
    assert order == ["background", "operation"]
    with locks.hold("a"), pytest.raises(errors.Busy), locks.hold_for_a_moment("a"):
        pytest.fail("it was held")
    with locks.hold_for_a_moment("a"):
        pass
