"""The pools that a node has, as it remembers them in its own state folder.

The configuration says which pools there shall be; this says which there were. So a disk that is
not mounted is not taken for an empty folder, and a pool that is taken out of the configuration
while it holds volumes is served until it is empty, and not forgotten with its bytes.
"""

import json
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from mooring.adapters.host import files
from mooring.adapters.pools import image_folder
from mooring.domain import errors, ids, pools
from mooring.ports import pools as pool_ports

_FOLDER = "known-pools"
_SUFFIX = ".json"


@dataclass(frozen=True)
class KnownPool:
    """A pool that this node has opened, and how it was configured then."""

    pool_uuid: str
    configuration: pool_ports.PoolConfiguration


class KnownPools:
    """The pools that one node remembers.

    Args:
        state_folder: The agent's own folder.

    Attributes:
        faults: What is remembered but cannot be read, by the pool's UUID.
    """

    def __init__(self, state_folder: Path) -> None:
        self._path = state_folder / _FOLDER
        self.faults: dict[str, str] = {}
        self._known = self._read() if self._path.exists() else {}

    def all(self) -> Sequence[KnownPool]:
        """Returns them, by name."""
        return sorted(self._known.values(), key=lambda one: one.configuration.name)

    def named(self, name: ids.PoolName) -> KnownPool | None:
        """Returns the one of a name, or None."""
        return next((one for one in self.all() if one.configuration.name == name), None)

    def remember(self, known: KnownPool) -> None:
        """Records a pool that is about to be served; one that is known as it is costs nothing.

        Raises:
            InvalidInput: The same pool is known under another name, which its records carry.
        """
        before = self._known.get(known.pool_uuid)
        if before is not None and before.configuration.name != known.configuration.name:
            raise errors.InvalidInput(
                f"it is the pool that this node has as {before.configuration.name}, and its "
                f"volumes know it by that name; configure it under the name "
                f"{before.configuration.name}, or, if it is a copy, keep it away from this node"
            )
        configuration = replace(known.configuration, use=pools.PoolUse.OPEN)
        known = replace(known, configuration=configuration)
        if before == known:
            return
        self._known[known.pool_uuid] = known
        with image_folder.no_space_ignored():  # a full disk must not keep its volumes from pods
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder = files.open_folder(self._path)
            try:
                content = json.dumps(_document(known), indent=1).encode() + b"\n"
                files.write_durably(folder, f"{known.pool_uuid}{_SUFFIX}", content)
            finally:
                os.close(folder)

    def forget(self, pool_uuid: str) -> None:
        """Forgets a pool; one that is not known is no error."""
        if self._known.pop(pool_uuid, None) is None:
            return
        folder = files.open_folder(self._path)
        try:
            files.remove_durably(folder, f"{pool_uuid}{_SUFFIX}")
        finally:
            os.close(folder)

    def _read(self) -> dict[str, KnownPool]:
        folder = files.open_folder(self._path)
        try:
            found: dict[str, KnownPool] = {}
            for name in files.names(folder):
                if not name.endswith(_SUFFIX) or name.startswith("."):
                    continue
                try:
                    known = _parsed(files.read(folder, name) or b"")
                except (ValueError, TypeError, KeyError, errors.InvalidInput) as error:
                    self.faults[name.removesuffix(_SUFFIX)] = (
                        f"{self._path / name}, which remembers a pool of this node, cannot be "
                        f"read ({error}); remove the file if that pool is in the configuration"
                    )
                else:
                    found[known.pool_uuid] = known
            return found
        finally:
            os.close(folder)


def _parsed(content: bytes) -> KnownPool:
    document: Any = json.loads(content)
    image_size_bytes = document["image_size_bytes"]
    return KnownPool(
        str(uuid.UUID(document["pool_uuid"])),
        pool_ports.PoolConfiguration(
            ids.parse_pool_name(document["name"]),
            pools.PoolBackend(document["backend"]),
            Path(document["folder"]),
            None if image_size_bytes is None else int(image_size_bytes),
            float(document["overcommit"]),
            timedelta(seconds=float(document["trash_retention_seconds"])),
        ),
    )


def _document(known: KnownPool) -> dict[str, object]:
    configuration = known.configuration
    return {
        "pool_uuid": known.pool_uuid,
        "name": configuration.name,
        "backend": configuration.backend.value,
        "folder": str(configuration.folder),
        "image_size_bytes": configuration.image_size_bytes,
        "overcommit": configuration.overcommit,
        "trash_retention_seconds": configuration.trash_retention.total_seconds(),
    }
