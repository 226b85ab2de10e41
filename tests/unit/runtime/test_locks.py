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
