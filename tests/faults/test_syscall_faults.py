"""Every operation of a node, broken off at each system call that changes something.

After a kill, a retry by the next agent finishes the work. After an error that the kernel
returned, success is not claimed for work that was not done, and a retry finishes it.
"""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import faulted_operations, real_storage, syscall_faults
from support.faulted_operations import OPERATIONS, Operation
from support.syscall_faults import KILL, Point

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

FULL = "error=ENOSPC"
ERRORS = ("error=EIO", FULL, "error=EROFS")
_PERSISTS = ("fsync", "fdatasync")
_SEED = int(os.environ.get("MOORING_TEST_SEED", "1"))


class Bench:
    """A machine on which one operation is broken off again and again.

    Args:
        folder: The machine's.
        operation: The operation.
    """

    def __init__(self, folder: Path, operation: Operation) -> None:
        self.folder = folder
        self.operation = operation
        machine = faulted_operations.open_machine(folder)
        self._empty = faulted_operations.observe(machine)
        machine.opener.close()
        log = folder.parent / "calls"
        self._begin()  # once without counting: the kubelet's folders are there from now on
        first = self._successor()
        operation.act(first)
        self._end(first)
        self._begin()
        ending = syscall_faults.run(operation, folder, log=log)
        assert ending == syscall_faults.Ending(killed=False, error=None)
        self.points = syscall_faults.points(log, ending.pid)
        self._expected = self._end(self._successor())

    def broken_off(self, point: Point, what: str) -> syscall_faults.Ending:
        """Breaks the operation off at one call, retries it, and checks all that is left."""
        self._begin()
        ending = syscall_faults.run(self.operation, self.folder, fault=(point, what))
        machine = self._successor()
        # A volume that the disk has no room to record in the trash goes at once (decision 11).
        expected = [self._expected]
        if what == FULL and self.operation.act is faulted_operations.delete:
            expected.append(self._empty)
        if not ending.killed and ending.error is None:
            assert faulted_operations.observe(machine) in expected, f"{what} at {point}"
        self.operation.act(machine)
        assert self._end(machine) in expected, f"retried after {what} at {point}"
        return ending

    def close(self) -> None:
        faulted_operations.open_machine(self.folder).stop()

    def _begin(self) -> None:
        machine = faulted_operations.open_machine(self.folder)
        self.operation.before(machine)
        machine.opener.close()

    def _successor(self) -> real_storage.Machine:
        machine = faulted_operations.open_machine(self.folder)
        assert not [note for note in machine.notes if "could not" in note], machine.notes
        return machine

    def _end(self, machine: real_storage.Machine) -> dict[str, object]:
        seen = faulted_operations.observe(machine)
        faulted_operations.clear(machine)
        assert faulted_operations.observe(machine) == self._empty
        machine.opener.close()
        return seen


@pytest.fixture
def scratch() -> Iterator[Path]:
    with real_storage.scratch() as folder:
        yield folder


@pytest.fixture(params=OPERATIONS.values(), ids=OPERATIONS.keys())
def bench(scratch: Path, request: pytest.FixtureRequest) -> Iterator[Bench]:
    made = Bench(scratch / "a", request.param)
    try:
        yield made
    finally:
        made.close()


def test_a_kill_at_any_call_is_made_good_by_a_retry(bench: Bench) -> None:
    endings = [(point, bench.broken_off(point, KILL)) for point in bench.points]
    spared = [str(point) for point, ending in endings if not ending.killed]
    assert not [one for one in spared if not one.startswith("child")], spared


def test_an_error_at_any_call_is_no_success(bench: Bench) -> None:
    dice = random.Random(_SEED)
    for point in bench.points:
        what = dice.choice(ERRORS)
        ending = bench.broken_off(point, what)
        assert not ending.killed
        # A full disk does not stop a deletion: it goes on without its intent (decision 9).
        if point.name in _PERSISTS and not point.in_child and what != FULL:
            assert ending.error is not None, f"success was claimed in spite of {point}"
