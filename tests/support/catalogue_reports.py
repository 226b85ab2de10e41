"""What nodes report of volumes and snapshots, for tests of catalogues."""

from datetime import UTC, datetime
from typing import Any

from mooring.domain import ids, volumes

NODE, OTHER = ids.NodeName("node-a"), ids.NodeName("node-b")
CREATED_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def make_spec(name: str = "pvc-1", **changes: Any) -> volumes.VolumeSpec:
    given: dict[str, Any] = {
        "size_bytes": 64 << 20,
        "pool": ids.PoolName("fast"),
        "labels": {"claim": "data"},
    }
    return volumes.VolumeSpec(volume_id=ids.volume_id_for(name), name=name, **(given | changes))


def make_status(spec: volumes.VolumeSpec, used_bytes: int = 1 << 20) -> volumes.VolumeStatus:
    record = volumes.VolumeRecord(
        spec, volumes.VolumeState.READY, formatted=True, created_at=CREATED_AT
    )
    condition = volumes.VolumeCondition(abnormal=True, message="its image is missing")
    return volumes.VolumeStatus(record, used_bytes, published=True, condition=condition)


def make_snapshot(spec: volumes.VolumeSpec, name: str = "s") -> volumes.SnapshotRecord:
    return volumes.SnapshotRecord(
        snapshot_id=ids.snapshot_id_for(name, spec.volume_id),
        name=name,
        pool=spec.pool,
        size_bytes=spec.size_bytes,
        mode=spec.mode,
        filesystem=spec.filesystem,
        sector_size_bytes=spec.sector_size_bytes,
        preallocated=spec.preallocated,
        state=volumes.SnapshotState.READY,
        created_at=CREATED_AT,
    )
