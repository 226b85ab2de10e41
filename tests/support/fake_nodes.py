"""A fleet in memory: nodes that create, lose answers and fall silent on request."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from mooring.domain import errors, extents, ids, pools, transfers, volumes

CREATED_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
GIB = 1 << 30


class FakeNode:
    """One node's storage, by the port's contract, with faults to switch on.

    Attributes:
        silent: Every call raises NeverReached.
        damage: Why its pool cannot be read whole; empty when it can.
        keeps_no_bases: Its pool cannot tell what changed.
        pulls_left: How often a copy from another node is still under way when it is asked for.
        loses_answers: Changes are carried out, then Unreachable is raised.
        calls: Names of the methods that were called, in order.
        now: Says when a snapshot is taken.
    """

    def __init__(self, name: str, *, pool: str = "main", size_bytes: int = 100 * GIB) -> None:
        self.name = ids.NodeName(name)
        self.pool = ids.PoolName(pool)
        self.size_bytes = size_bytes
        self.silent = False
        self.damage = ""
        self.loses_answers = False
        self.no_room_to_undelete = False
        self.keeps_no_bases = False
        self.in_use: set[ids.VolumeId] = set()
        self.calls: list[str] = []
        self.volumes: dict[ids.VolumeId, volumes.VolumeRecord] = {}
        self.snapshots: dict[ids.SnapshotId, volumes.SnapshotRecord] = {}
        self.offers: set[tuple[ids.SnapshotId, ids.NodeName]] = set()
        self.pieces: list[transfers.Piece] = []
        self.pulls_left = 0
        self.now: Callable[[], datetime] = lambda: CREATED_AT
        self._guard = threading.Lock()

    def create_volume(self, spec: volumes.VolumeSpec) -> volumes.VolumeRecord:
        self._reach("create_volume")
        with self._guard:
            present = self.volumes.get(spec.volume_id)
            if present is None:
                if spec.size_bytes > self._free_bytes():
                    raise errors.SpaceExhausted(f"no room on {self.name}")
                if spec.source is not None and spec.source.node and self.pulls_left:
                    self.pulls_left -= 1
                    raise errors.Busy(f"{spec.volume_id} is being copied")
                state = volumes.VolumeState.FILLING if spec.filling else volumes.VolumeState.READY
                present = volumes.VolumeRecord(
                    spec, state, formatted=spec.source is not None, created_at=CREATED_AT
                )
                self.volumes[spec.volume_id] = present
            elif (present.spec.mode, present.spec.pool) != (spec.mode, spec.pool):
                raise errors.AlreadyExists(f"{spec.volume_id} is different")
        self._answer()
        return present

    def delete_volume(self, volume_id: ids.VolumeId) -> None:
        self._reach("delete_volume")
        if volume_id in self.in_use:
            raise errors.InUse(f"{volume_id} is mounted")
        self.volumes.pop(volume_id, None)
        self._answer()

    def trash(self, volume_id: ids.VolumeId) -> ids.VolumeId:
        """Deletes a volume whose bytes are kept; returns the id that it has from then on."""
        record = self.volumes.pop(volume_id)
        trashing = volumes.Trashing(volume_id, CREATED_AT, CREATED_AT + timedelta(hours=24))
        spec = replace(record.spec, volume_id=trashing.trashed_id)
        state = volumes.VolumeState.TRASHED
        self.volumes[spec.volume_id] = replace(record, spec=spec, state=state, trashing=trashing)
        return spec.volume_id

    def undelete_volume(self, volume_id: ids.VolumeId) -> volumes.VolumeRecord:
        self._reach("undelete_volume")
        if volume_id not in self.volumes:
            raise errors.NotFound(f"there is no volume {volume_id}")
        if self.no_room_to_undelete:
            raise errors.SpaceExhausted("there is no room to bring it back")
        state = volumes.VolumeState.READY
        record = replace(self.volumes[volume_id], state=state, trashing=None)
        self.volumes[volume_id] = record
        return record

    def free_expired_trash(self) -> Sequence[ids.VolumeId]:
        self._reach("free_expired_trash")
        return []

    def expand_volume(self, volume_id: ids.VolumeId, size_bytes: int) -> volumes.VolumeRecord:
        self._reach("expand_volume")
        record = self.volumes.get(volume_id)
        if record is None:
            raise errors.NotFound(f"there is no volume {volume_id}")
        if size_bytes > record.spec.size_bytes:
            record = replace(record, spec=replace(record.spec, size_bytes=size_bytes))
            self.volumes[volume_id] = record
        self._answer()
        return record

    def finish_filling(self, volume_id: ids.VolumeId) -> volumes.VolumeRecord:
        self._reach("finish_filling")
        record = replace(self.volumes[volume_id], state=volumes.VolumeState.READY)
        self.volumes[volume_id] = record
        return record

    def list_volumes(self) -> Sequence[volumes.VolumeStatus]:
        self._reach("list_volumes")
        condition = volumes.VolumeCondition(abnormal=False, message="in order")
        return [
            volumes.VolumeStatus(record, 0, key in self.in_use, condition)
            for key, record in sorted(self.volumes.items())
        ]

    def list_pools(self) -> Sequence[pools.PoolStatus]:
        self._reach("list_pools")
        free = self._free_bytes()
        return [
            pools.PoolStatus(
                name=self.pool,
                pool_uuid=f"uuid-of-{self.name}",
                node=self.name,
                backend=pools.PoolBackend.MEMORY,
                capacity=pools.PoolCapacity(self.size_bytes, free),
                provisioned_bytes=self.size_bytes - free,
                available_bytes=free,
                healthy=not self.damage,
                message=self.damage,
            )
        ]

    def create_snapshot(
        self, snapshot_id: ids.SnapshotId, name: str, *, freeze_timeout_seconds: float
    ) -> volumes.SnapshotRecord:
        self._reach("create_snapshot")
        with self._guard:
            if snapshot_id not in self.snapshots:
                source = self.volumes.get(ids.source_volume_id(snapshot_id))
                if source is None:
                    raise errors.NotFound("the snapshot's volume does not exist")
                spec = source.spec
                self.snapshots[snapshot_id] = volumes.SnapshotRecord(
                    snapshot_id=snapshot_id,
                    name=name,
                    pool=spec.pool,
                    size_bytes=spec.size_bytes,
                    mode=spec.mode,
                    filesystem=spec.filesystem,
                    sector_size_bytes=spec.sector_size_bytes,
                    preallocated=spec.preallocated,
                    state=volumes.SnapshotState.READY,
                    created_at=self.now(),
                )
        self._answer()
        return self.snapshots[snapshot_id]

    def offer_snapshot(self, snapshot_id: ids.SnapshotId, node: ids.NodeName) -> None:
        self._reach("offer_snapshot")
        if snapshot_id not in self.snapshots:
            raise errors.NotFound(f"there is no snapshot {snapshot_id}")
        self.offers.add((snapshot_id, node))
        self._answer()

    def read_snapshot(
        self,
        snapshot_id: ids.SnapshotId,
        reader: ids.NodeName,
        progress: volumes.PullProgress | None,
    ) -> Iterator[transfers.Part]:
        if (snapshot_id, reader) not in self.offers:
            raise errors.PermissionDenied(f"{reader} may not read {snapshot_id}")
        yield transfers.Opening(self.snapshots[snapshot_id])
        chain = bytes.fromhex(progress.chain) if progress else b""
        for piece in self.pieces:
            chain = transfers.extended(chain, piece)
            yield transfers.Sent(piece, chain)
        yield transfers.Ending(chain)

    def keep_base(self, snapshot_id: ids.SnapshotId, base: volumes.BackupBase) -> None:
        self._reach("keep_base")
        if self.keeps_no_bases:
            raise errors.Unsupported("this pool copies whole images")
        if snapshot_id not in self.snapshots:
            raise errors.NotFound(f"there is no snapshot {snapshot_id}")
        volume_id = ids.source_volume_id(snapshot_id)
        for other, record in list(self.snapshots.items()):
            if record.base and record.source_volume_id == volume_id:
                del self.snapshots[other]
        self.snapshots[snapshot_id] = replace(self.snapshots[snapshot_id], base=base)
        self._answer()

    @contextmanager
    def read_ranges(
        self, snapshot_id: ids.SnapshotId, base_id: ids.SnapshotId | None
    ) -> Iterator[extents.ImageRanges]:
        self._reach("read_ranges")
        if snapshot_id not in self.snapshots:
            raise errors.NotFound(f"there is no snapshot {snapshot_id}")
        size_bytes = self.snapshots[snapshot_id].size_bytes
        self._answer()
        yield extents.ImageRanges(size_bytes, True, [extents.Range(0, size_bytes)])

    def delete_snapshot(self, snapshot_id: ids.SnapshotId) -> None:
        self._reach("delete_snapshot")
        self.snapshots.pop(snapshot_id, None)
        self._answer()

    def list_snapshots(self) -> Sequence[volumes.SnapshotRecord]:
        self._reach("list_snapshots")
        return [record for _, record in sorted(self.snapshots.items())]

    def _free_bytes(self) -> int:
        return self.size_bytes - sum(item.spec.size_bytes for item in self.volumes.values())

    def _reach(self, method: str) -> None:
        if self.silent:
            raise errors.NeverReached(f"the agent of {self.name} does not answer")
        self.calls.append(method)

    def _answer(self) -> None:
        if self.loses_answers:
            raise errors.Unreachable(f"the agent of {self.name} did not answer")


class FakeNodes:
    """A fleet of fake nodes."""

    def __init__(self, *nodes: FakeNode) -> None:
        self._nodes = {node.name: node for node in nodes}

    def names(self) -> Sequence[ids.NodeName]:
        return sorted(self._nodes)

    def storage(self, node: ids.NodeName) -> FakeNode:
        if node not in self._nodes:
            raise errors.NotFound(f"there is no node {node}")
        return self._nodes[node]

    def add(self, node: FakeNode) -> None:
        self._nodes[node.name] = node

    def remove(self, node: FakeNode) -> None:
        del self._nodes[node.name]
