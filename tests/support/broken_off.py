"""A machine on which one operation is broken off again and again, at a system call of choice.

Besides a kill and an error there is the power cut: the pool's filesystem is shut down without
writing its log back, as a machine does that loses its power, and is mounted anew.
"""

from pathlib import Path

from mooring.adapters.host import commands
from support import faulted_operations, real_storage, syscall_faults
from support.faulted_operations import CONTENT, INTENTS, Operation
from support.syscall_faults import KILL, Point

_COUNTED_RUNS = 2
_UNDER_WAY = "under way"


class Bench:
    """A machine on which one operation is broken off again and again.

    Args:
        folder: The machine's.
        operation: The operation.
    """

    def __init__(self, folder: Path, operation: Operation) -> None:
        self.folder = folder
        self.operation = operation
        self._present: real_storage.Machine | None = None
        self._at_work = False
        machine = self._opened()
        self._empty = faulted_operations.observe(machine)
        machine.opener.close()
        self._log = folder.parent / "calls"
        self._begin()  # once without counting: the kubelet's folders are there from now on
        first = self._successor()
        operation.act(first)
        self._end(first)
        # Another program at the loop devices only adds calls, which later runs may not have.
        runs = [self._counted() for _ in range(_COUNTED_RUNS)]
        self.points, self._expected = min(runs, key=lambda run: len(run[0]))

    def again(self, point: Point) -> Point:
        """Returns one of the points as it is counted now."""
        points, _ = self._counted()
        same = len(points) == len(self.points)
        return points[self.points.index(point)] if same else point

    def _counted(self) -> tuple[list[Point], dict[str, object]]:
        """Runs the operation without a fault; returns its calls and what it leaves."""
        self._begin()
        ending = syscall_faults.run(self.operation, self.folder, log=self._log)
        assert ending == syscall_faults.Ending(killed=False, error=None)
        return syscall_faults.points(self._log, ending.pid), self._end(self._successor())

    def broken_off(self, point: Point, what: str) -> syscall_faults.Ending:
        """Breaks the operation off at one call, retries it, and checks all that is left."""
        self._begin()
        ending = syscall_faults.run(self.operation, self.folder, fault=(point, what), log=self._log)
        machine = self._successor()
        # A volume that the disk has no room to record in the trash goes at once (decision 11).
        expected = [self._expected]
        if "ENOSPC" in what and self.operation.act is faulted_operations.delete:
            expected.append(self._empty)
        if not ending.killed and ending.error is None:
            assert faulted_operations.observe(machine) in expected, f"{what} at {point}"
        self.operation.act(machine)
        assert self._end(machine) in expected, f"retried after {what} at {point}"
        return ending

    def close(self) -> None:
        """Takes the machine down, also one that a failure left in the middle of something."""
        machine = self._opened()
        if self._at_work:
            faulted_operations.clear(machine)
        machine.stop()

    def _opened(self) -> real_storage.Machine:
        """Opens the machine; closes the one before, which a failed check may have left open."""
        if self._present is not None:
            self._present.opener.close()
        self._present = faulted_operations.open_machine(self.folder)
        return self._present

    def _begin(self) -> None:
        machine = self._opened()
        if self._at_work:
            faulted_operations.clear(machine)
        self._at_work = True
        self.operation.before(machine)
        machine.opener.close()

    def _successor(self) -> real_storage.Machine:
        machine = self._opened()
        assert not [note for note in machine.notes if "could not" in note], machine.notes
        return machine

    def _end(self, machine: real_storage.Machine) -> dict[str, object]:
        seen = faulted_operations.observe(machine)
        faulted_operations.clear(machine)
        assert faulted_operations.observe(machine) == self._empty
        machine.opener.close()
        self._at_work = False
        return seen


class PowerBench(Bench):
    """A bench whose power is cut as well, at the moment of the kill.

    The old and the new state are what such a machine shows after a cut before the operation, and
    after one that follows its success: success that a cut takes back was claimed too early.
    """

    def __init__(self, folder: Path, operation: Operation) -> None:
        super().__init__(folder, operation)
        self._begin()
        commands.run(["sync", "-f", str(self._pool)])
        self._old = self._after_cut()
        self._begin()
        assert syscall_faults.run(operation, folder).error is None
        commands.run(["sync", "-f", str(self._pool)])
        self._new = self._after_cut()
        self._begin()
        assert syscall_faults.run(operation, folder).error is None
        assert self._after_cut() == self._new, "a power cut took back what was a success"

    def cut_at(self, point: Point) -> bool:
        """Cuts the power at one call: the state is the old or the new one, and a retry ends it.

        Returns:
            Whether the kill struck; else the power was cut after the operation.
        """
        self._begin()
        ending = syscall_faults.run(self.operation, self.folder, fault=(point, KILL), log=self._log)
        seen = self._after_cut(retried=True)
        kept = seen.pop(_UNDER_WAY) and self.operation.resumes
        whole = [{**one, INTENTS: seen[INTENTS]} for one in (self._old, self._new)]
        assert kept or seen in whole, f"a half state after a power cut at {point}"
        return ending.struck

    @property
    def _pool(self) -> Path:
        return self.folder / "state/pools/fast"

    def _after_cut(self, *, retried: bool = False) -> dict[str, object]:
        """Cuts the power, starts the machine, and returns what it shows; ends with it empty."""
        commands.run(["xfs_io", "-x", "-c", "shutdown", str(self._pool)])
        real_storage.sweep(self.folder)
        machine = self._successor()
        seen = faulted_operations.observe(machine)
        if retried:
            seen[_UNDER_WAY] = faulted_operations.under_way(machine)
        self._require_acknowledged(machine)
        if retried:
            self.operation.act(machine)
            wanted = {**self._expected, "blocks": None}  # a filesystem grows at its next mount
            assert {**self._end(machine), "blocks": None} == wanted, "retried after a power cut"
        else:
            self._end(machine)
        return seen

    def _require_acknowledged(self, machine: real_storage.Machine) -> None:
        """What was written and synced before is there, whatever else happened."""
        faulted_operations.again_in_use(machine, self.operation.before)
        data = Path(machine.target("one")) / "data"
        if self.operation.before in (faulted_operations.in_use, faulted_operations.with_snapshot):
            assert data.read_bytes() == CONTENT, "acknowledged data is gone"
