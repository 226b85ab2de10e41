"""Domain values as messages of the agent's wire, and back. Both ends run the same version."""

from datetime import UTC

from mooring.agent._generated import agent_pb2
from mooring.domain import ids, pools, volumes


def spec_message(spec: volumes.VolumeSpec) -> agent_pb2.VolumeSpec:
    """Writes a spec."""
    source = spec.source or volumes.Source()
    return agent_pb2.VolumeSpec(
        volume_id=spec.volume_id,
        name=spec.name,
        pool=spec.pool,
        size_bytes=spec.size_bytes,
        mode=spec.mode,
        filesystem=spec.filesystem or "",
        preallocated=spec.preallocated,
        sector_size_bytes=spec.sector_size_bytes,
        source_volume_id=source.volume_id or "",
        source_snapshot_id=source.snapshot_id or "",
        filling=spec.filling,
        labels=spec.labels,
    )


def spec(message: agent_pb2.VolumeSpec) -> volumes.VolumeSpec:
    """Reads a spec.

    Raises:
        NotFound: An id is none of ours.
        InvalidInput: The pool's name is none.
        ValueError: An enum's value is unknown.
    """
    return volumes.VolumeSpec(
        volume_id=ids.parse_volume_id(message.volume_id),
        name=message.name,
        pool=ids.parse_pool_name(message.pool),
        size_bytes=message.size_bytes,
        mode=volumes.VolumeMode(message.mode),
        filesystem=_filesystem(message.filesystem),
        preallocated=message.preallocated,
        sector_size_bytes=message.sector_size_bytes,
        source=_source(message),
        filling=message.filling,
        labels=dict(message.labels),
    )


def record_message(record: volumes.VolumeRecord) -> agent_pb2.VolumeRecord:
    """Writes a volume's record."""
    return agent_pb2.VolumeRecord(
        spec=spec_message(record.spec),
        state=record.state,
        formatted=record.formatted,
        created_at=record.created_at,
        formatting=record.formatting,
        growing_to_bytes=record.growing_to_bytes,
        trashing=None if record.trashing is None else _trashing_message(record.trashing),
    )


def record(message: agent_pb2.VolumeRecord) -> volumes.VolumeRecord:
    """Reads a volume's record."""
    growing = message.HasField("growing_to_bytes")
    return volumes.VolumeRecord(
        spec=spec(message.spec),
        state=volumes.VolumeState(message.state),
        formatted=message.formatted,
        created_at=message.created_at.ToDatetime(tzinfo=UTC),
        formatting=message.formatting,
        growing_to_bytes=message.growing_to_bytes if growing else None,
        trashing=_trashing(message.trashing) if message.HasField("trashing") else None,
    )


def snapshot_message(record: volumes.SnapshotRecord) -> agent_pb2.SnapshotRecord:
    """Writes a snapshot's record."""
    return agent_pb2.SnapshotRecord(
        snapshot_id=record.snapshot_id,
        name=record.name,
        pool=record.pool,
        size_bytes=record.size_bytes,
        mode=record.mode,
        filesystem=record.filesystem or "",
        sector_size_bytes=record.sector_size_bytes,
        preallocated=record.preallocated,
        state=record.state,
        created_at=record.created_at,
        formatted=record.formatted,
    )


def snapshot(message: agent_pb2.SnapshotRecord) -> volumes.SnapshotRecord:
    """Reads a snapshot's record."""
    return volumes.SnapshotRecord(
        snapshot_id=ids.parse_snapshot_id(message.snapshot_id),
        name=message.name,
        pool=ids.parse_pool_name(message.pool),
        size_bytes=message.size_bytes,
        mode=volumes.VolumeMode(message.mode),
        filesystem=_filesystem(message.filesystem),
        sector_size_bytes=message.sector_size_bytes,
        preallocated=message.preallocated,
        state=volumes.SnapshotState(message.state),
        created_at=message.created_at.ToDatetime(tzinfo=UTC),
        formatted=message.formatted,
    )


def status_message(status: volumes.VolumeStatus) -> agent_pb2.VolumeStatus:
    """Writes a volume's status."""
    return agent_pb2.VolumeStatus(
        record=record_message(status.record),
        used_bytes=status.used_bytes,
        published=status.published,
        abnormal=status.condition.abnormal,
        message=status.condition.message,
        extents=status.extents,
    )


def status(message: agent_pb2.VolumeStatus) -> volumes.VolumeStatus:
    """Reads a volume's status."""
    return volumes.VolumeStatus(
        record=record(message.record),
        used_bytes=message.used_bytes,
        published=message.published,
        condition=volumes.VolumeCondition(message.abnormal, message.message),
        extents=message.extents if message.HasField("extents") else None,
    )


def pool_message(status: pools.PoolStatus) -> agent_pb2.PoolStatus:
    """Writes a pool's status."""
    return agent_pb2.PoolStatus(
        name=status.name,
        pool_uuid=status.pool_uuid,
        node=status.node,
        backend=status.backend,
        total_bytes=status.capacity.total_bytes,
        free_bytes=status.capacity.free_bytes,
        provisioned_bytes=status.provisioned_bytes,
        available_bytes=status.available_bytes,
        healthy=status.healthy,
        message=status.message,
    )


def pool(message: agent_pb2.PoolStatus) -> pools.PoolStatus:
    """Reads a pool's status."""
    return pools.PoolStatus(
        name=ids.parse_pool_name(message.name),
        pool_uuid=message.pool_uuid,
        node=ids.parse_node_name(message.node),
        backend=pools.PoolBackend(message.backend),
        capacity=pools.PoolCapacity(message.total_bytes, message.free_bytes),
        provisioned_bytes=message.provisioned_bytes,
        available_bytes=message.available_bytes,
        healthy=message.healthy,
        message=message.message,
    )


def _trashing_message(trashing: volumes.Trashing) -> agent_pb2.Trashing:
    return agent_pb2.Trashing(
        volume_id=trashing.volume_id,
        deleted_at=trashing.deleted_at,
        expires_at=trashing.expires_at,
    )


def _trashing(message: agent_pb2.Trashing) -> volumes.Trashing:
    return volumes.Trashing(
        ids.parse_volume_id(message.volume_id),
        message.deleted_at.ToDatetime(tzinfo=UTC),
        message.expires_at.ToDatetime(tzinfo=UTC),
    )


def _filesystem(text: str) -> volumes.FilesystemType | None:
    return volumes.FilesystemType(text) if text else None


def _source(message: agent_pb2.VolumeSpec) -> volumes.Source | None:
    if message.source_volume_id:
        return volumes.Source(volume_id=ids.parse_volume_id(message.source_volume_id))
    if message.source_snapshot_id:
        return volumes.Source(snapshot_id=ids.parse_snapshot_id(message.source_snapshot_id))
    return None
