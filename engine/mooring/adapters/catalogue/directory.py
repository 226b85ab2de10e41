"""The catalogue in a directory, for a controller and agents on one machine without a cluster.

One JSON document an entry, named by the volume's id, which is Mooring's own. A write is a
temporary file, fsync, rename and fsync of the directory; a lock file orders the processes.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pydantic

from mooring.adapters.catalogue import projection
from mooring.domain import errors, ids, volumes
from mooring.ports import catalogue as catalogue_port

_DOCUMENT = pydantic.TypeAdapter(catalogue_port.CatalogueEntry)
_SUFFIX = ".json"


class DirectoryCatalogue:
    """Entries as files of one directory, shared by the processes of one machine."""

    def __init__(self, folder: Path) -> None:
        """Opens a catalogue, making its directory when it is missing.

        Raises:
            Unreachable: The directory cannot be made.
        """
        self._folder = folder
        with _as_unreachable(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def reserve(
        self, spec: volumes.VolumeSpec, node: ids.NodeName
    ) -> catalogue_port.CatalogueEntry:
        """Records the intent to create a volume, or returns the entry that is there."""
        with self._locked():
            entry = self._read(spec.volume_id)
            if entry is None:
                entry = catalogue_port.CatalogueEntry(spec, node)
                self._write(entry)
            return entry

    def drop(self, volume_id: ids.VolumeId) -> None:
        """Forgets a volume; an absent one is no error."""
        with self._locked():
            self._path(volume_id).unlink(missing_ok=True)
            self._sync_folder()

    def entry(self, volume_id: ids.VolumeId) -> catalogue_port.CatalogueEntry | None:
        """Returns one entry, or None."""
        with _as_unreachable(self._folder):
            return self._read(volume_id)

    def entries(self) -> Sequence[catalogue_port.CatalogueEntry]:
        """Returns all entries, by volume id."""
        with self._locked():
            return list(self._read_all().values())

    def request_deletion(self, volume_id: ids.VolumeId) -> None:
        """Records a tombstone; repeating it or an absent entry is no error."""
        with self._locked():
            entry = self._read(volume_id)
            if entry is not None:
                self._write(replace(entry, deletion_requested=True))

    def request_undelete(self, volume_id: ids.VolumeId) -> None:
        """Records the wish to have a volume back; an absent entry is no error."""
        with self._locked():
            entry = self._read(volume_id)
            if entry is not None:
                self._write(replace(entry, deletion_requested=False, undelete_requested=True))

    def forget(self, volume_id: ids.VolumeId) -> None:
        """Records that a volume's node is gone for good; an absent entry is no error."""
        with self._locked():
            entry = self._read(volume_id)
            if entry is not None:
                self._write(replace(entry, forgotten=True))

    def request_snapshot_deletion(self, snapshot_id: ids.SnapshotId) -> None:
        """Records a snapshot's tombstone; an absent entry is no error."""
        with self._locked():
            entry = self._read(ids.source_volume_id(snapshot_id))
            if entry is not None and snapshot_id not in entry.snapshot_deletions:
                deletions = (*entry.snapshot_deletions, snapshot_id)
                self._write(replace(entry, snapshot_deletions=deletions))

    def record_size(self, volume_id: ids.VolumeId, size_bytes: int) -> None:
        """Records the size that an expansion reached; an absent entry is no error."""
        with self._locked():
            entry = self._read(volume_id)
            if entry is not None:
                self._write(replace(entry, spec=replace(entry.spec, size_bytes=size_bytes)))

    def report(self, node: ids.NodeName, report: catalogue_port.NodeReport) -> None:
        """Projects a node's records."""
        with self._locked():
            before = self._read_all()
            for entry in projection.changed_entries(before, node, report):
                self._write(entry)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with _as_unreachable(self._folder):
            descriptor = os.open(
                self._folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            with _as_unreachable(self._folder):
                yield
        finally:
            os.close(descriptor)

    def _path(self, volume_id: ids.VolumeId) -> Path:
        return self._folder / f"{ids.parse_volume_id(volume_id)}{_SUFFIX}"

    def _read(self, volume_id: ids.VolumeId) -> catalogue_port.CatalogueEntry | None:
        try:
            text = self._path(volume_id).read_bytes()
        except FileNotFoundError:
            return None
        try:
            return _DOCUMENT.validate_json(text)
        except pydantic.ValidationError as error:
            raise errors.DataCorrupt(
                f"the catalogue's record of {volume_id} cannot be read: {error.error_count()} "
                "errors. Move it away; its node reports the volume again"
            ) from error

    def _read_all(self) -> dict[ids.VolumeId, catalogue_port.CatalogueEntry]:
        names = sorted(path.stem for path in self._folder.glob(f"vol-*{_SUFFIX}"))
        found = ((ids.parse_volume_id(name), self._read(ids.VolumeId(name))) for name in names)
        return {volume_id: entry for volume_id, entry in found if entry is not None}

    def _write(self, entry: catalogue_port.CatalogueEntry) -> None:
        path = self._path(entry.spec.volume_id)
        temporary = path.with_suffix(".new")
        with temporary.open("wb") as file:
            file.write(_DOCUMENT.dump_json(entry, indent=1))
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
        self._sync_folder()

    def _sync_folder(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _as_unreachable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise errors.Unreachable(
            f"the catalogue in {folder} cannot be used: {error.strerror or error}"
        ) from error
