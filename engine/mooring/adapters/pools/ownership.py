"""The owner file of a pool: which node it serves on, and whether another one may take it over.

It lies beside the lock, and for an embedded pool both beside `pool.img` and within, so that a
pool is asked about before it is mounted, and also when `pool.img` alone was moved.
"""

import json
import os
import uuid
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mooring.adapters.host import files
from mooring.adapters.pools import image_folder, pool_folder
from mooring.domain import errors, ids, pools
from mooring.planning import pool_ownership
from mooring.ports.pools import PoolSightings


class Ownership:
    """One node's claim to pools.

    Args:
        node: The node.
        sightings: What other nodes say.
        told: Pools, by UUID, that it is told to adopt.
    """

    def __init__(
        self, node: ids.NodeName, sightings: PoolSightings, told: Collection[str] = ()
    ) -> None:
        self._node = node
        self._sightings = sightings
        self._told = frozenset(told)

    def require(self, folder: Path, name: ids.PoolName) -> None:
        """Refuses a pool that may be another node's. The caller holds the folder's lock.

        Raises:
            InUse: Another node has it, or may have it.
            InvalidInput: It is configured under another name than its records carry.
            DataCorrupt: Its owner file cannot be read.
        """
        owner = _read(folder)
        if owner is None or not pool_ownership.must_ask(owner, self._node):
            return
        if owner.pool_name != name:
            raise errors.InvalidInput(
                f"pool {owner.pool_uuid} of node {owner.node} is named {owner.pool_name} in its "
                f"records; configure it under that name, not as {name}"
            )
        sighting = self._sightings.look(owner.pool_uuid, owner.node)
        told = owner.pool_uuid in self._told
        refusal = pool_ownership.refusal(owner, sighting, told=told)
        if refusal is not None:
            raise errors.InUse(refusal)

    def claim(
        self, folders: Sequence[Path], pool_uuid: str, name: ids.PoolName
    ) -> tuple[ids.NodeName, ...]:
        """Writes down that the pool is this node's; returns the nodes that had it before.

        The folder that is looked at first is written last, so that a kill leaves a question.
        """
        previous: tuple[ids.NodeName, ...] = ()
        for folder in reversed(folders):
            before = _read(folder)
            after = pool_ownership.owned(before, pool_uuid, name, self._node)
            previous = tuple(dict.fromkeys((*previous, *after.previous)))
            if after != before:
                # On a full disk it is asked about again with the next start, which is all it costs.
                with image_folder.no_space_ignored():
                    _write(folder, after)
        return previous

    def moved_to(self, pool_uuid: str) -> ids.NodeName | None:
        """Returns the other node that has a pool now, if one says so."""
        return self._sightings.look(pool_uuid, self._node).serving_node


def _read(folder: Path) -> pools.PoolOwner | None:
    descriptor = files.open_folder(folder)
    try:
        content = files.read(descriptor, pool_folder.OWNER_FILE)
    finally:
        os.close(descriptor)
    if content is None:
        return None
    try:
        document: Any = json.loads(content)
        return pools.PoolOwner(
            str(uuid.UUID(document["pool_uuid"])),
            ids.parse_pool_name(document["pool_name"]),
            ids.parse_node_name(document["node"]),
            tuple(ids.parse_node_name(name) for name in document["previous"]),
        )
    except (ValueError, TypeError, KeyError, errors.InvalidInput) as error:
        raise errors.DataCorrupt(
            f"{folder / pool_folder.OWNER_FILE} cannot be read ({error}); if no other node has "
            "this pool, remove the file"
        ) from error


def _write(folder: Path, owner: pools.PoolOwner) -> None:
    descriptor = files.open_folder(folder)
    try:
        content = json.dumps(asdict(owner), indent=1).encode() + b"\n"
        files.write_durably(descriptor, pool_folder.OWNER_FILE, content)
    finally:
        os.close(descriptor)
