"""Domain values as messages of the agent's wire, and back. Both ends run the same version."""

import itertools
from collections.abc import Iterable, Iterator
from datetime import UTC

from mooring.agent._generated import agent_pb2
from mooring.domain import errors, extents, ids, pools, transfers, volumes

_RANGES_A_MESSAGE = 8192


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
        source_node=source.node or "",
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
        pull=progress_message(record.pull),
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
        pull=progress(message.pull) if message.HasField("pull") else None,
        trashing=_trashing(message.trashing) if message.HasField("trashing") else None,
    )


def progress_message(pull: volumes.PullProgress | None) -> agent_pb2.PullProgress | None:
    """Writes how far a copy from another node is; None for none."""
    if pull is None:
        return None
    return agent_pb2.PullProgress(
        taken_at=pull.taken_at,
        source_size_bytes=pull.source_size_bytes,
        done_bytes=pull.done_bytes,
        chain=pull.chain,
    )


def progress(message: agent_pb2.PullProgress) -> volumes.PullProgress:
    """Reads how far a copy from another node is.

    Raises:
        InvalidInput: No copy is ever that far.
    """
    try:
        taken_at = message.taken_at.ToDatetime(tzinfo=UTC)
        chain_bytes = len(bytes.fromhex(message.chain))
    except (ValueError, OverflowError) as error:
        raise errors.InvalidInput(f"the progress of a copy cannot be read: {error}") from error
    if chain_bytes not in (0, transfers.CHAIN_BYTES) or message.done_bytes < 0:
        raise errors.InvalidInput(
            f"no copy is {message.done_bytes} bytes far with a chain of {chain_bytes} bytes"
        )
    return volumes.PullProgress(
        taken_at=taken_at,
        source_size_bytes=message.source_size_bytes,
        done_bytes=message.done_bytes,
        chain=message.chain,
    )


def part_message(part: transfers.Part) -> agent_pb2.SnapshotPart:
    """Writes a part of a snapshot on its way to another node."""
    match part:
        case transfers.Opening(record):
            return agent_pb2.SnapshotPart(opening=snapshot_message(record))
        case transfers.Sent(piece, chain):
            sent = agent_pb2.SnapshotPiece(
                offset_bytes=piece.offset_bytes, content=piece.content, chain=chain
            )
            return agent_pb2.SnapshotPart(piece=sent)
        case transfers.Ending(chain):
            return agent_pb2.SnapshotPart(ending=agent_pb2.SnapshotEnding(chain=chain))


def part(message: agent_pb2.SnapshotPart) -> transfers.Part | None:
    """Reads a part; None when it is of a kind that this agent does not know."""
    match message.WhichOneof("part"):
        case "opening":
            return transfers.Opening(snapshot(message.opening))
        case "piece":
            piece = transfers.Piece(message.piece.offset_bytes, message.piece.content)
            return transfers.Sent(piece, message.piece.chain)
        case "ending":
            return transfers.Ending(message.ending.chain)
        case _:
            return None


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
        base=base_message(record.base) if record.base else None,
    )


def base_message(base: volumes.BackupBase) -> agent_pb2.BackupBase:
    """Writes which backup has the content of a snapshot."""
    return agent_pb2.BackupBase(repository_id=base.repository_id, backup_id=base.backup_id)


def base(message: agent_pb2.BackupBase) -> volumes.BackupBase:
    """Reads which backup has the content of a snapshot."""
    return volumes.BackupBase(message.repository_id, message.backup_id)


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
        base=base(message.base) if message.HasField("base") else None,
    )


def ranges_messages(found: extents.ImageRanges) -> Iterator[agent_pb2.SnapshotRanges]:
    """Writes ranges of a snapshot; at least one message, which tells its size."""
    ranges = iter(found.ranges)
    some = list(itertools.islice(ranges, _RANGES_A_MESSAGE))
    while True:
        numbers = itertools.chain.from_iterable(some)
        yield agent_pb2.SnapshotRanges(
            size_bytes=found.size_bytes, trusted=found.trusted, numbers=numbers
        )
        some = list(itertools.islice(ranges, _RANGES_A_MESSAGE))
        if not some:
            return


def ranges(messages: Iterable[agent_pb2.SnapshotRanges]) -> Iterator[extents.Range]:
    """Reads the ranges in messages."""
    for message in messages:
        numbers = iter(message.numbers)
        yield from map(extents.Range, numbers, numbers)


def status_message(status: volumes.VolumeStatus) -> agent_pb2.VolumeStatus:
    """Writes a volume's status."""
    return agent_pb2.VolumeStatus(
        record=record_message(status.record),
        used_bytes=status.used_bytes,
        published=status.published,
        abnormal=status.condition.abnormal,
        message=status.condition.message,
        writes_wait=status.condition.writes_wait,
        extents=status.extents,
    )


def status(message: agent_pb2.VolumeStatus) -> volumes.VolumeStatus:
    """Reads a volume's status."""
    return volumes.VolumeStatus(
        record=record(message.record),
        used_bytes=message.used_bytes,
        published=message.published,
        condition=volumes.VolumeCondition(message.abnormal, message.message, message.writes_wait),
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
        waiting_volumes=status.waiting_volumes,
        evacuation=_evacuation_message(status.evacuation),
        adopted_from=status.adopted_from,
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
        waiting_volumes=message.waiting_volumes,
        evacuation=_evacuation(message.evacuation) if message.HasField("evacuation") else None,
        adopted_from=tuple(ids.parse_node_name(name) for name in message.adopted_from),
    )


def _evacuation_message(found: pools.Evacuation | None) -> agent_pb2.Evacuation | None:
    if found is None:
        return None
    return agent_pb2.Evacuation(
        use=found.use,
        held_count=found.held_count,
        held=[
            agent_pb2.HeldItem(kind=item.kind, name=item.name, what_to_do=item.what_to_do)
            for item in found.held
        ],
    )


def _evacuation(message: agent_pb2.Evacuation) -> pools.Evacuation:
    held = tuple(pools.HeldItem(one.kind, one.name, one.what_to_do) for one in message.held)
    return pools.Evacuation(pools.PoolUse(message.use), message.held_count, held)


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
    node = ids.parse_node_name(message.source_node) if message.source_node else None
    if message.source_volume_id:
        return volumes.Source(ids.parse_volume_id(message.source_volume_id), node=node)
    if message.source_snapshot_id:
        snapshot_id = ids.parse_snapshot_id(message.source_snapshot_id)
        return volumes.Source(snapshot_id=snapshot_id, node=node)
    return None
