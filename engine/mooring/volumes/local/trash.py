"""The trash of one pool: deleted volumes whose bytes are still there, under an id of their own.

Moving one there: the intent on its record, the image under its new name, the record under its new
id, and away with the old one. Freeing one: as every deletion, the image before the record.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from mooring.domain import errors, ids, quantities, volumes
from mooring.planning import trash as trash_plan
from mooring.ports import pools as pool_ports
from mooring.ports.clock import Clock
from mooring.volumes.local.bases import Bases
from mooring.volumes.local.ledger import Ledger

_SETTLING_SECONDS = 5.0
"""How long a filesystem may take to give back the space of a removed file."""
_BASE_SETTLING_SECONDS = 0.5
_POLL_SECONDS = 0.05


class Trash:
    """Deleted volumes of one pool.

    What is kept for the next backups goes after it, where that is not enough.

    Args:
        pool: The pool.
        records: Its records.
        bases: What is kept for the next backups.
        clock: The time.
    """

    def __init__(
        self, pool: pool_ports.OpenPool, records: Ledger, bases: Bases, clock: Clock
    ) -> None:
        self._bases = bases
        self._images = pool.images
        self._retention = pool.trash_retention
        self._records = records
        self._clock = clock
        self._changing = threading.Lock()

    def admit(self, wanted_bytes: int, what: str) -> None:
        """Refuses a promise that the pool could not keep; frees what it can only keep without.

        Raises:
            SpaceExhausted: It could not, not even with an empty trash and no base.
        """
        self._promise(wanted_bytes, what)
        self._make_room(wanted_bytes, what)

    def _promise(self, wanted_bytes: int, what: str) -> None:
        """Refuses a promise; takes back what was promised to bases if it can be made without."""
        while True:
            try:
                return self._records.admit(wanted_bytes, what)
            except errors.SpaceExhausted:
                if not self._records.could_admit(wanted_bytes) or not self._bases.free_oldest():
                    raise
            self._settle(wanted_bytes, _BASE_SETTLING_SECONDS)

    def _make_room(
        self, wanted_bytes: int, what: str, *, spare: ids.VolumeId | None = None
    ) -> None:
        while True:
            short_bytes = self._records.shortage_bytes(wanted_bytes)
            if not short_bytes:
                return
            if not self.free(short_bytes, spare=spare) and not self._bases.free_oldest():
                break
            self._settle(wanted_bytes)
        # Blocks that a snapshot shares are not freed with the trash.
        raise errors.SpaceExhausted(
            f"{what} needs {quantities.show_bytes(short_bytes)} more than the pool has, and "
            "nothing is left in its trash. Delete volumes or snapshots of it, or use a larger "
            "pool"
        )

    def keep(self, record: volumes.VolumeRecord) -> bool:
        """Moves a volume that is deleted into the trash; False when there is nothing to keep.

        Raises:
            SpaceExhausted: No room for the records; a retry goes on where this one ended.
        """
        if record.state is volumes.VolumeState.DELETING:
            trashing = record.trashing  # decided before a kill
        else:
            trashing = self._decide(record)
            record = replace(record, trashing=trashing)
        if trashing is None:
            return False
        self._records.put_volume(replace(record, state=volumes.VolumeState.DELETING))
        image, name = ids.ImageId(trashing.volume_id), ids.ImageId(trashing.trashed_id)
        try:
            self._images.rename(image, name)
        except errors.NotFound:
            if name not in self._images.images():
                return False  # else it was renamed before a kill
        with self._changing:
            if self._records.volume(trashing.trashed_id) is None:
                spec = replace(record.spec, volume_id=trashing.trashed_id)
                state = volumes.VolumeState.TRASHED
                self._records.put_volume(replace(record, spec=spec, state=state))
        self._records.remove_volume(trashing.volume_id)
        return True

    def bring_back(self, record: volumes.VolumeRecord) -> volumes.VolumeRecord:
        """Makes a volume of the trash Ready again, after the pool has promised its room anew.

        Raises:
            NotFound: It was freed meanwhile.
            DataCorrupt: Its image is gone, or is not whole.
            SpaceExhausted: The pool has promised the room to others.
        """
        volume_id, spec = record.spec.volume_id, record.spec
        usage = self._images.images().get(ids.ImageId(volume_id))
        if usage is None or usage.size_bytes < spec.size_bytes:
            raise errors.DataCorrupt(f"the image of volume {volume_id} is not whole any more")
        with self._records.promising():
            cost_bytes, what = self._records.cost_of(spec, spec.size_bytes), f"volume {volume_id}"
            self._promise(cost_bytes, what)
            self._make_room(max(0, cost_bytes - usage.used_bytes), what, spare=volume_id)
            with self._changing:
                present = self._records.volume(volume_id)
                if present is None or present.state is not volumes.VolumeState.TRASHED:
                    raise errors.NotFound(f"volume {volume_id} is in the trash no more")
                done = replace(present, state=volumes.VolumeState.READY, trashing=None)
                self._records.put_volume(done)
        return done

    def free_something(self, wanted_bytes: int) -> bool:
        """Frees trash that took so many bytes, or a base where there is none."""
        return bool(self.free(wanted_bytes)) or self._bases.free_oldest()

    def free(self, wanted_bytes: int, *, spare: ids.VolumeId | None = None) -> int:
        """Frees volumes of the trash, the oldest first, until they took so many bytes.

        Returns:
            How many were freed.
        """

        def choose(kept: Sequence[volumes.VolumeRecord]) -> Sequence[volumes.VolumeRecord]:
            images = self._images.images()
            items = []
            for record in trash_plan.oldest_first(kept):
                usage = images.get(ids.ImageId(record.spec.volume_id))
                if record.spec.volume_id != spare:
                    items.append(trash_plan.Item(record, usage.used_bytes if usage else 0))
            return trash_plan.to_free(items, wanted_bytes)

        return len(self._free(choose))

    def free_for_low_space(self) -> int:
        """Frees the oldest volumes of the trash when space is low, and no more than is needed.

        Returns:
            How many were freed, bases that went after them included.
        """
        freed = 0
        while short_bytes := self._records.shortage_bytes(0):
            some = self.free(short_bytes) or int(self._bases.free_oldest())
            if not some:
                break
            freed += some
            self._settle(0)
        return freed

    def free_expired(self) -> Sequence[ids.VolumeId]:
        """Frees what was kept long enough."""
        return self._free(lambda kept: trash_plan.expired(kept, self._clock.now()))

    def _free(
        self, choose: Callable[[Sequence[volumes.VolumeRecord]], Sequence[volumes.VolumeRecord]]
    ) -> list[ids.VolumeId]:
        freed: list[ids.VolumeId] = []
        with self._changing:
            for record in choose(self._records.list_volumes().records):
                volume_id = record.spec.volume_id
                # As for every deletion, a full pool has no room for the intent: see `reclaim`.
                with contextlib.suppress(errors.SpaceExhausted):
                    state = volumes.VolumeState.DELETING
                    self._records.put_volume(replace(record, state=state, trashing=None))
                self._images.remove(ids.ImageId(volume_id))
                self._records.remove_volume(volume_id)
                freed.append(volume_id)
        return freed

    def _decide(self, record: volumes.VolumeRecord) -> volumes.Trashing | None:
        volume_id, used_bytes = record.spec.volume_id, 0
        if record.spec.mode is volumes.VolumeMode.BLOCK:
            usage = self._images.images().get(ids.ImageId(volume_id))
            used_bytes = usage.used_bytes if usage else 0
        if not self._retention or not trash_plan.worth_keeping(record, used_bytes):
            return None
        now = self._clock.now()
        return volumes.Trashing(volume_id, now, now + self._retention)

    def _settle(self, wanted_bytes: int, most_seconds: float = _SETTLING_SECONDS) -> None:
        """Waits until the filesystem has given back what was removed; some do it afterwards."""
        limit = time.monotonic() + most_seconds
        while self._records.shortage_bytes(wanted_bytes) and time.monotonic() < limit:
            time.sleep(_POLL_SECONDS)
