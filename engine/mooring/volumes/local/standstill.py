"""Volumes that stand still because their pool has no room for what they would write.

Each is frozen through the guard, by a thread that extends the freeze while there is a reason for
it. So the freeze ends with this process, and whatever a volume is taken through ends it first.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mooring.domain import errors, ids
from mooring.ports import host

_GRANTED_SECONDS = 60.0
_EXTEND_SECONDS = 10.0
_END_SECONDS = 30.0


class _Hold:
    """One volume, frozen again and again until it is let go."""

    def __init__(self, freezes: host.Freezes, mountpoint: Path) -> None:
        self.over = False
        self.fault = ""
        self._freezes = freezes
        self._mountpoint = mountpoint
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._run, name="standstill", daemon=True)
        self._thread.start()

    def let_go(self) -> None:
        """Begins to end it."""
        self.over = True
        self._woken.set()

    def breathe(self) -> None:
        """Thaws it, and freezes it again at once."""
        self._woken.set()

    def ended(self, timeout_seconds: float = 0.0) -> bool:
        """Returns whether nothing of it is left."""
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self.over:
                self._hold()
        except (errors.MooringError, OSError) as error:
            self.fault = str(error)

    def _hold(self) -> None:
        with self._freezes.frozen(
            self._mountpoint, timeout_seconds=_GRANTED_SECONDS, writers_first=False
        ) as freeze:
            while not self._woken.wait(_EXTEND_SECONDS):
                freeze.extend(_GRANTED_SECONDS)
        self._woken.clear()


class Standstill:
    """The volumes of one node that stand still for lack of space."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._holds: dict[ids.VolumeId, _Hold] = {}
        self._spared: list[ids.VolumeId] = []

    def hold(self, freezes: host.Freezes, mountpoints: Mapping[ids.VolumeId, Path]) -> list[str]:
        """Begins to freeze volumes at their mount points; those that stand still go on to.

        Returns:
            What went wrong with earlier tries.
        """
        faults: list[str] = []
        with self._guard:
            for volume_id, mountpoint in mountpoints.items():
                present = self._holds.get(volume_id)
                if volume_id in self._spared or (present is not None and not present.ended()):
                    continue
                if present is not None and present.fault:
                    faults.append(f"{volume_id}: {present.fault}")
                self._holds[volume_id] = _Hold(freezes, mountpoint)
        return faults

    def let_go(self, volume_ids: set[ids.VolumeId]) -> None:
        """Begins to thaw some of them, and returns at once."""
        with self._guard:
            for volume_id in volume_ids & self._holds.keys():
                self._holds[volume_id].let_go()
            self._holds = {
                key: one for key, one in self._holds.items() if not (one.over and one.ended())
            }

    def breathe(self, volume_ids: set[ids.VolumeId]) -> None:
        """Thaws some for a moment, so that whoever was killed meanwhile can end."""
        with self._guard:
            for volume_id in volume_ids & self._holds.keys():
                self._holds[volume_id].breathe()

    def held(self) -> set[ids.VolumeId]:
        """Returns which volumes are frozen, or about to be."""
        with self._guard:
            return {key for key, one in self._holds.items() if not (one.over or one.ended())}

    @contextmanager
    def ended_for(self, volume_id: ids.VolumeId) -> Iterator[None]:
        """Thaws one volume, and keeps it so for the time of a `with` block.

        Raises:
            Busy: It is not thawed yet.
        """
        with self._guard:
            self._spared.append(volume_id)
            hold = self._holds.get(volume_id)
        try:
            if hold is not None:
                hold.let_go()
                if not hold.ended(_END_SECONDS):
                    raise errors.Busy(f"volume {volume_id} is being thawed; try again")
            yield
        finally:
            with self._guard:
                self._spared.remove(volume_id)
