"""A small repository with everything that a test of the backup engine needs around it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mooring.adapters.blobstores.memory import MemoryBlobStore
from mooring.backup import capture, devices, progress, repository
from mooring.backup import restore as restores
from mooring.backup.format import slots
from mooring.domain import backups
from mooring.ports import blobstores
from support.set_clock import SetClock

KEY = slots.Unlock(secret=bytes(range(32)))
OTHER_KEY = slots.Unlock(secret=bytes(range(1, 33)))
SMALL_CHUNK = 512


class Engine:
    """A fresh repository; each backup is a second later than the one before."""

    def __init__(
        self,
        folder: Path,
        chunk_size_bytes: int = SMALL_CHUNK,
        store: blobstores.BlobStore | None = None,
    ) -> None:
        self.folder = folder
        self.clock = SetClock()
        self.surroundings = repository.Surroundings(self.clock)
        self.store = store or MemoryBlobStore()
        repository.initialise(self.store, [KEY], self.surroundings, chunk_size_bytes)

    def open(self, key: slots.Unlock = KEY) -> repository.Repository:
        return repository.open_repository(self.store, key, self.surroundings)

    def back_up(
        self,
        content: bytes,
        backup_id: str,
        uid: str = "volume-1",
        parent: str | None = "latest",
        watch: progress.Watch | None = None,
        changes: backups.Changes | None = None,
        **more: Any,
    ) -> capture.BackupOutcome:
        image = self.folder / "image"
        image.write_bytes(content)
        self.clock.advance(1)
        with devices.VolumeSource(image) as source:
            request = capture.BackupRequest(
                backup_id=backups.parse_backup_id(backup_id),
                volume=backups.VolumeFacts(uid, len(content)),
                point_in_time=self.clock.now(),
                parent=parent,
                documents={"persistentVolumeClaim": {"kind": "PersistentVolumeClaim"}},
                changes=changes,
                **more,
            )
            return capture.back_up(self.open(), source, request, watch or progress.Watch())

    def restore(self, backup_id: str, *, verify: bool = False) -> bytes:
        target = self.folder / "restored"
        self.restore_to(target, backup_id, verify=verify)
        return target.read_bytes()

    def restore_to(
        self, target: Path, backup_id: str, *, verify: bool = False
    ) -> restores.RestoreOutcome:
        return restores.restore(
            self.open(),
            backups.BackupId(backup_id),
            opener(target),
            progress.Watch(),
            verify=verify,
        )

    def object_names(self, prefix: str = "") -> list[str]:
        return sorted(info.key for info in self.store.list(prefix))

    def bytes_stored(self) -> int:
        return sum(info.size_bytes for info in self.store.list(""))

    def damage(self, key: str, change: Callable[[bytearray], None]) -> None:
        data = bytearray(self.store.get(key, limit_bytes=1 << 30))
        change(data)
        self.overwrite(key, bytes(data))

    def overwrite(self, key: str, data: bytes) -> None:
        self.store.delete(key)
        self.store.put(key, data)


def opener(target: Path) -> Callable[[backups.BackupManifest], devices.VolumeTarget]:
    return lambda manifest: devices.VolumeTarget(target, manifest.volume.size_bytes, replace=True)
