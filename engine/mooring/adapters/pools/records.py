"""A pool's records: one JSON file per volume and per snapshot, beside the images.

They are read once, when the pool is opened; this process is its only opener, so memory and disk
stay equal as long as every write reaches the disk first; one that failed is read back. A file that
cannot be read is named and left alone, and its neighbours serve on.
"""

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import pydantic

from mooring.adapters.host import files
from mooring.adapters.pools import image_folder
from mooring.domain import errors, ids, volumes
from mooring.ports.records import Listing

FORMAT_VERSION = 1
_SUFFIX = ".json"

Record = TypeVar("Record", volumes.VolumeRecord, volumes.SnapshotRecord)


class FolderRecords:
    """Records in a folder; implements `ports.records.VolumeRecords`.

    Args:
        folder: The folder of the records; made if it is missing.
        read_only: Whether they were written by a newer Mooring: what of them is known is read,
            and nothing in the folder is changed.
    """

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        if not read_only:
            folder.mkdir(mode=0o700, exist_ok=True)
        self._volumes = _Shelf(
            folder / "volumes", pydantic.TypeAdapter(volumes.VolumeRecord), read_only=read_only
        )
        self._snapshots = _Shelf(
            folder / "snapshots", pydantic.TypeAdapter(volumes.SnapshotRecord), read_only=read_only
        )

    def close(self, let_go: Callable[[int], None] = os.close) -> None:
        """Lets go of the folders."""
        self._volumes.close(let_go)
        self._snapshots.close(let_go)

    def volume(self, volume_id: ids.VolumeId) -> volumes.VolumeRecord | None:
        """Returns the record, or None; see the port."""
        return self._volumes.get(volume_id)

    def put_volume(self, record: volumes.VolumeRecord) -> None:
        """Writes or replaces a record."""
        self._volumes.put(record.spec.volume_id, record)

    def remove_volume(self, volume_id: ids.VolumeId) -> None:
        """Removes a record; an absent one is no error."""
        self._volumes.remove(volume_id)

    def list_volumes(self) -> Listing[volumes.VolumeRecord]:
        """Returns all records; an unreadable one is named among the faults."""
        return self._volumes.listing()

    def snapshot(self, snapshot_id: ids.SnapshotId) -> volumes.SnapshotRecord | None:
        """Returns the record, or None; see the port."""
        return self._snapshots.get(snapshot_id)

    def put_snapshot(self, record: volumes.SnapshotRecord) -> None:
        """Writes or replaces a record."""
        self._snapshots.put(record.snapshot_id, record)

    def remove_snapshot(self, snapshot_id: ids.SnapshotId) -> None:
        """Removes a record; an absent one is no error."""
        self._snapshots.remove(snapshot_id)

    def list_snapshots(self) -> Listing[volumes.SnapshotRecord]:
        """Returns all records; an unreadable one is named among the faults."""
        return self._snapshots.listing()


class _Shelf(Generic[Record]):
    """The records of one kind."""

    def __init__(
        self, folder: Path, adapter: pydantic.TypeAdapter[Record], *, read_only: bool
    ) -> None:
        if not read_only:
            folder.mkdir(mode=0o700, exist_ok=True)
        self._read_only = read_only
        self._path = folder
        self._adapter: pydantic.TypeAdapter[Record] = adapter
        self._folder = files.open_folder(folder)
        self._lock = threading.Lock()
        self._records: dict[str, Record] = {}
        self._faults: dict[str, str] = {}
        if not read_only:
            files.remove_leftovers(self._folder)
        self._load()

    def close(self, let_go: Callable[[int], None]) -> None:
        let_go(self._folder)

    def get(self, key: str) -> Record | None:
        with self._lock:
            if key in self._faults:
                raise errors.DataCorrupt(self._faults[key])
            return self._records.get(key)

    def put(self, key: str, record: Record) -> None:
        document = {
            "format_version": FORMAT_VERSION,
            "record": self._adapter.dump_python(record, mode="json"),
        }
        content = json.dumps(document, indent=1, sort_keys=True).encode()
        with self._lock:
            if key in self._faults:
                raise errors.DataCorrupt(self._faults[key])
            with self._read_back(key), image_folder.no_space_named(f"record {key}"):
                files.write_durably(self._folder, f"{key}{_SUFFIX}", content)
            self._records[key] = record

    def remove(self, key: str) -> None:
        with self._lock:
            if key in self._faults:
                raise errors.DataCorrupt(self._faults[key])
            doing = f"remove the record of {key}"
            with self._read_back(key), image_folder.no_space_named(doing):
                files.remove_durably(self._folder, f"{key}{_SUFFIX}")
            self._records.pop(key, None)

    def listing(self) -> Listing[Record]:
        with self._lock:
            ordered = tuple(self._records[key] for key in sorted(self._records))
            return Listing(ordered, tuple(self._faults[key] for key in sorted(self._faults)))

    @contextlib.contextmanager
    def _read_back(self, key: str) -> Iterator[None]:
        """What failed may have been done all the same: who goes on sees what a restart would."""
        try:
            yield
        except Exception:
            with contextlib.suppress(ValueError, OSError, RecursionError):
                content = files.read(self._folder, f"{key}{_SUFFIX}")
                if content is None:
                    self._records.pop(key, None)
                else:
                    self._records[key] = self._parsed(key, content)
            raise

    def _load(self) -> None:
        for name in files.names(self._folder):
            if not name.endswith(_SUFFIX):
                continue
            key = name.removesuffix(_SUFFIX)
            try:
                self._records[key] = self._parsed(key, files.read(self._folder, name) or b"")
            except (ValueError, OSError, RecursionError) as error:
                first_line = str(error).splitlines()[0]
                self._faults[key] = (
                    f"the record {self._path / name} cannot be read ({first_line}); "
                    "nothing is done to what it describes"
                )

    def _parsed(self, key: str, content: bytes) -> Record:
        """Reads one document.

        Raises:
            ValueError: It is no record of this format, or another's.
        """
        document: Any = json.loads(content)
        if not isinstance(document, Mapping):
            raise ValueError("it is no JSON object")
        version = document.get("format_version")
        newer = isinstance(version, int) and version > FORMAT_VERSION and self._read_only
        if version != FORMAT_VERSION and not newer:
            raise ValueError(f"it has format version {version!r}, not {FORMAT_VERSION}")
        record: Record = self._adapter.validate_python(document.get("record"))
        if _key(record) != key:
            raise ValueError(f"it describes {_key(record)}")
        return record


def _key(record: volumes.VolumeRecord | volumes.SnapshotRecord) -> str:
    if isinstance(record, volumes.VolumeRecord):
        return record.spec.volume_id
    return record.snapshot_id
