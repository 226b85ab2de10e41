"""Creating a volume: empty, from a snapshot, or from another volume."""

from dataclasses import dataclass, replace

from mooring.domain import errors, ids, quantities, volumes
from mooring.planning import admission
from mooring.volumes.local import attachments, pull
from mooring.volumes.local.context import NodeContext, PoolBook, cut_of, image_of
from mooring.volumes.local.layout import ORDINARY_FREEZE_SECONDS


@dataclass(frozen=True)
class _Origin:
    """What a new volume is copied from, whichever kind it is."""

    image: ids.ImageId
    pool: ids.PoolName
    size_bytes: int
    mode: volumes.VolumeMode
    filesystem: volumes.FilesystemType | None
    sector_size_bytes: int
    formatted: bool
    live: bool


def create_volume(context: NodeContext, spec: volumes.VolumeSpec) -> volumes.VolumeRecord:
    """Creates a volume; see `ports.nodes.NodeStorage.create_volume`."""
    with context.locks.hold(*_keys(spec)):
        # A pool that failed must not stop the others: the intent names the pool, so it is the same.
        found = context.look_up_volume(spec.volume_id)
        if found is None:
            return _create_in(context, context.pool(spec.pool), spec)
        book, record = found
        _require_same(record, spec)
        if record.state is volumes.VolumeState.CREATING:
            return _create_in(context, book, spec, record)
        if record.state is volumes.VolumeState.DELETING:
            raise errors.Busy(f"volume {spec.volume_id} is being deleted; try again")
        return record


def _create_in(
    context: NodeContext,
    book: PoolBook,
    spec: volumes.VolumeSpec,
    intended: volumes.VolumeRecord | None = None,
) -> volumes.VolumeRecord:
    """Creates a volume in its pool, or goes on with what a try before this one recorded."""
    with book.bases.spared(spec.source.snapshot_id if spec.source else None):
        record = intended or _intend(context, book, spec)
        if pull.is_pulled(context, spec):
            return pull.advance(context, book, record, discard)
        return _carry_out(context, book, record)


def finish_filling(context: NodeContext, volume_id: ids.VolumeId) -> volumes.VolumeRecord:
    """Makes a Filling volume Ready; see `ports.nodes.NodeStorage.finish_filling`."""
    with context.locks.hold(volume_id):
        book, record = context.volume(volume_id)
        if record.state is volumes.VolumeState.READY:
            return record
        if record.state is not volumes.VolumeState.FILLING:
            context.require_ready(record)
        path = book.image_path(image_of(volume_id))
        if attachments.release_idle(context.host, path):
            raise errors.InUse(f"volume {volume_id} is still attached for the mover that fills it")
        done = replace(record, state=volumes.VolumeState.READY, formatted=True)
        book.records.put_volume(done)
        return done


def _keys(spec: volumes.VolumeSpec) -> list[str]:
    keys: list[str] = [spec.volume_id]
    if spec.source and spec.source.volume_id:
        keys.append(spec.source.volume_id)
    if spec.source and spec.source.snapshot_id:
        keys.append(spec.source.snapshot_id)
    return keys


def _require_same(record: volumes.VolumeRecord, spec: volumes.VolumeSpec) -> None:
    present = replace(record.spec, labels=spec.labels)
    if present == spec:
        return
    names = ("name", "pool", "size_bytes", "mode", "filesystem", "preallocated",
             "sector_size_bytes", "source", "filling")  # fmt: skip
    different = [name for name in names if getattr(present, name) != getattr(spec, name)]
    raise errors.AlreadyExists(
        f"volume {spec.volume_id} exists with another {', '.join(different)}"
    )


def _intend(context: NodeContext, book: PoolBook, spec: volumes.VolumeSpec) -> volumes.VolumeRecord:
    """Checks what is asked for and records the intent, which reserves its space."""
    book.require_open()
    _require_sound(spec)
    pull.require_source_in_reach(context, spec)
    if spec.filesystem is not None:
        context.host.filesystems.require_carried(spec.filesystem)
    origin = _origin(context, spec)
    admission.check_size(spec.size_bytes, spec.filesystem, book.images.capacity())
    with book.records.promising():
        faults = book.records.faults()
        if faults:
            raise errors.HostFailure(f"pool {book.name} takes no new volumes: {faults[0]}")
        shown = quantities.show_bytes(spec.size_bytes)
        book.trash.admit(
            book.records.cost_of(spec, spec.size_bytes),
            f"a volume of {shown} in pool {book.name}",
        )
        record = volumes.VolumeRecord(
            spec=spec,
            state=volumes.VolumeState.CREATING,
            formatted=origin.formatted if origin else spec.filling,
            created_at=context.clock.now(),
        )
        book.records.put_volume(record)
    return record


def _require_sound(spec: volumes.VolumeSpec) -> None:
    if (spec.mode is volumes.VolumeMode.BLOCK) != (spec.filesystem is None):
        raise errors.InvalidInput("a Filesystem volume has a filesystem type, a Block one has none")
    if spec.sector_size_bytes not in (512, 1024, 2048, 4096):
        raise errors.InvalidInput(f"{spec.sector_size_bytes} is no sector size")
    source = spec.source
    if source and (source.volume_id is None) == (source.snapshot_id is None):
        raise errors.InvalidInput("a source is either a volume or a snapshot")
    if source and spec.filling and (source.volume_id or source.node):
        raise errors.InvalidInput("what a restore fills begins empty or as a snapshot of this node")


def _origin(context: NodeContext, spec: volumes.VolumeSpec) -> _Origin | None:
    """Looks up what a volume is copied from, and refuses what cannot be copied."""
    if spec.source is None or pull.is_pulled(context, spec):
        return None
    if spec.source.snapshot_id is not None:
        origin = _snapshot_origin(context, spec.source.snapshot_id)
    elif spec.source.volume_id is not None:
        origin = _volume_origin(context, spec.source.volume_id)
    else:
        return None
    if origin.pool != spec.pool:
        raise errors.InvalidInput(
            f"the source lies in pool {origin.pool}, so its copy cannot be in {spec.pool}"
        )
    if origin.mode is not spec.mode or origin.filesystem is not spec.filesystem:
        inside = origin.filesystem.value if origin.filesystem else "raw block"
        raise errors.InvalidInput(f"the source is a {origin.mode.value} volume with {inside}")
    if origin.sector_size_bytes != spec.sector_size_bytes:
        raise errors.InvalidInput(f"the source has sectors of {origin.sector_size_bytes} bytes")
    if spec.size_bytes < origin.size_bytes:
        raise errors.SizeOutOfRange(
            f"{quantities.show_bytes(spec.size_bytes)} is smaller than the source, which has "
            f"{quantities.show_bytes(origin.size_bytes)}"
        )
    return origin


def _snapshot_origin(context: NodeContext, snapshot_id: ids.SnapshotId) -> _Origin:
    book, snapshot = context.snapshot(snapshot_id)
    if snapshot.state is not volumes.SnapshotState.READY:
        raise errors.PreconditionFailed(f"snapshot {snapshot_id} is {snapshot.state.value}")
    return _Origin(
        image_of(snapshot_id), book.name, snapshot.size_bytes, snapshot.mode, snapshot.filesystem,
        snapshot.sector_size_bytes, snapshot.formatted, live=False,
    )  # fmt: skip


def _volume_origin(context: NodeContext, volume_id: ids.VolumeId) -> _Origin:
    book, record = context.volume(volume_id)
    context.require_ready(record)
    require_whole_filesystem(record)
    path = book.image_path(image_of(volume_id))
    live = bool(attachments.devices_of(context.host, path))
    if live and not book.images.properties.snapshots_while_published:
        raise errors.Unsupported(
            f"pool {book.name} copies whole images, so volume {volume_id} cannot be cloned while "
            "it is in use; stop its pods first"
        )
    if live:
        book.layout.require_quick(volume_id, ORDINARY_FREEZE_SECONDS)
    spec = record.spec
    return _Origin(
        image_of(volume_id), book.name, spec.size_bytes, spec.mode, spec.filesystem,
        spec.sector_size_bytes, record.formatted, live,
    )  # fmt: skip


def require_whole_filesystem(record: volumes.VolumeRecord) -> None:
    """Refuses to copy a volume whose first formatting was interrupted.

    Raises:
        PreconditionFailed: It was, and no mount has repaired it yet.
    """
    if record.formatting and not record.formatted:
        raise errors.PreconditionFailed(
            f"volume {record.spec.volume_id} was never completely formatted; mount it once first"
        )


def _carry_out(
    context: NodeContext, book: PoolBook, record: volumes.VolumeRecord
) -> volumes.VolumeRecord:
    """Makes the image of a recorded intent, and records the end; on an error both go."""
    spec = record.spec
    try:
        origin = _origin(context, spec)
        if origin is None:
            book.images.allocate(
                image_of(spec.volume_id), spec.size_bytes, preallocate=spec.preallocated
            )
        else:
            _copy(context, book, spec, origin)
            record = replace(record, formatted=origin.formatted)
    except errors.MooringError:
        discard(book, spec.volume_id)
        raise
    state = volumes.VolumeState.FILLING if spec.filling else volumes.VolumeState.READY
    done = replace(record, state=state)
    book.records.put_volume(done)
    return done


def _copy(context: NodeContext, book: PoolBook, spec: volumes.VolumeSpec, origin: _Origin) -> None:
    target = image_of(spec.volume_id)
    if not origin.live:
        book.images.copy(origin.image, target, spec.size_bytes, preallocate=spec.preallocated)
        return
    # Only sharing blocks is quick enough for a freeze; giving the copy its own comes after it.
    cut = cut_of(spec.volume_id)
    context.require_running(book, ids.VolumeId(origin.image))
    book.images.remove(cut)
    path = book.image_path(origin.image)
    with attachments.quiesced(context.host, path, timeout_seconds=ORDINARY_FREEZE_SECONDS):
        book.layout.copy_sharing(origin.image, cut, origin.size_bytes)
    book.images.copy(cut, target, spec.size_bytes, preallocate=spec.preallocated)
    book.images.remove(cut)


def discard(book: PoolBook, volume_id: ids.VolumeId) -> None:
    """Takes back a creation: image first, so that the record outlives what it describes."""
    book.images.remove(cut_of(volume_id))
    book.images.remove(image_of(volume_id))
    book.records.remove_volume(volume_id)
