"""Taking and deleting snapshots."""

import contextlib
from dataclasses import replace

from mooring.domain import errors, ids, quantities, volumes
from mooring.volumes.local import attachments, provision
from mooring.volumes.local.context import NodeContext, PoolBook, image_of


def create_snapshot(
    context: NodeContext,
    snapshot_id: ids.SnapshotId,
    name: str,
    *,
    freeze_timeout_seconds: float,
) -> volumes.SnapshotRecord:
    """Takes a snapshot; see `ports.nodes.NodeSnapshots.create_snapshot`."""
    volume_id = ids.source_volume_id(snapshot_id)
    with context.locks.hold(volume_id, snapshot_id):
        found = context.find_snapshot(snapshot_id)
        if found is not None and found[1].state is volumes.SnapshotState.READY:
            return found[1]
        if found is not None:
            # A half-made one was never acknowledged, so nobody knows its point in time.
            discard(found[0], snapshot_id)
        book, source = context.volume(volume_id)
        context.require_running(book, volume_id)
        _require_takeable(context, book, source, freeze_timeout_seconds)
        record = _intend(context, book, source, (snapshot_id, name))
        try:
            done = _cut(context, book, record, freeze_timeout_seconds)
        except errors.MooringError:
            discard(book, snapshot_id)
            raise
        book.records.put_snapshot(done)
        return done


def delete_snapshot(context: NodeContext, snapshot_id: ids.SnapshotId) -> None:
    """Deletes a snapshot; see `ports.nodes.NodeSnapshots.delete_snapshot`."""
    with context.locks.hold(snapshot_id):
        found = context.find_snapshot(snapshot_id)
        if found is None:
            return
        book, record = found
        if attachments.release_idle(context.host, book.image_path(image_of(snapshot_id))):
            raise errors.InUse(f"snapshot {snapshot_id} is still attached for a mover")
        with contextlib.suppress(errors.SpaceExhausted):  # as for a volume: see `reclaim`
            book.records.put_snapshot(replace(record, state=volumes.SnapshotState.DELETING))
        discard(book, snapshot_id)


def keep_base(context: NodeContext, snapshot_id: ids.SnapshotId, base: volumes.BackupBase) -> None:
    """Keeps a snapshot for the next backup; see `ports.nodes.NodeSnapshots.keep_base`."""
    volume_id = ids.source_volume_id(snapshot_id)
    with context.locks.hold(volume_id, snapshot_id):
        book, record = context.snapshot(snapshot_id)
        if record.state is not volumes.SnapshotState.READY:
            raise errors.PreconditionFailed(f"snapshot {snapshot_id} is {record.state.value}")
        if book.tracking is None or not book.images.properties.copies_on_write:
            raise errors.Unsupported(
                f"pool {book.name} cannot tell what changed since a snapshot, so none is kept"
            )
        source_book, source = context.volume(volume_id)
        context.require_ready(source)
        if source_book is not book:
            raise errors.Unsupported(f"volume {volume_id} is not in pool {book.name} any more")
        if attachments.release_idle(context.host, book.image_path(image_of(snapshot_id))):
            raise errors.InUse(f"snapshot {snapshot_id} is still attached for a mover")
        book.bases.keep(record, base)


def discard(book: PoolBook, snapshot_id: ids.SnapshotId) -> None:
    """Takes away a snapshot's image, then its record."""
    book.images.remove(image_of(snapshot_id))
    book.records.remove_snapshot(snapshot_id)


def _require_takeable(
    context: NodeContext,
    book: PoolBook,
    source: volumes.VolumeRecord,
    freeze_timeout_seconds: float,
) -> None:
    context.require_ready(source)
    provision.require_whole_filesystem(source)
    volume_id = source.spec.volume_id
    attached = attachments.devices_of(context.host, book.image_path(image_of(volume_id)))
    if attached and not book.images.properties.snapshots_while_published:
        raise errors.Unsupported(
            f"pool {book.name} copies whole images, so volume {volume_id} cannot be snapshotted "
            "while it is in use; stop its pods first"
        )
    if attached:
        book.layout.require_quick(volume_id, freeze_timeout_seconds)


def _intend(
    context: NodeContext,
    book: PoolBook,
    source: volumes.VolumeRecord,
    named: tuple[ids.SnapshotId, str],
) -> volumes.SnapshotRecord:
    spec = source.spec
    usage = book.images.images().get(image_of(spec.volume_id))
    if usage is None:
        raise errors.DataCorrupt(f"the image of volume {spec.volume_id} is missing")
    record = volumes.SnapshotRecord(
        snapshot_id=named[0],
        name=named[1],
        pool=book.name,
        size_bytes=spec.size_bytes,
        mode=spec.mode,
        filesystem=spec.filesystem,
        sector_size_bytes=spec.sector_size_bytes,
        preallocated=spec.preallocated,
        state=volumes.SnapshotState.CREATING,
        created_at=context.clock.now(),
        formatted=source.formatted,
    )
    with book.records.promising():
        shown = f"a snapshot of a volume of {quantities.show_bytes(spec.size_bytes)}"
        book.trash.admit(
            book.records.snapshot_cost(spec, usage.used_bytes), f"{shown} in pool {book.name}"
        )
        book.records.put_snapshot(record)
    return record


def _cut(
    context: NodeContext,
    book: PoolBook,
    record: volumes.SnapshotRecord,
    freeze_timeout_seconds: float,
) -> volumes.SnapshotRecord:
    source = image_of(record.source_volume_id)
    path = book.image_path(source)
    with attachments.quiesced(context.host, path, timeout_seconds=freeze_timeout_seconds):
        created_at = context.clock.now()
        book.layout.copy_sharing(source, image_of(record.snapshot_id), record.size_bytes)
    return replace(record, state=volumes.SnapshotState.READY, created_at=created_at)
