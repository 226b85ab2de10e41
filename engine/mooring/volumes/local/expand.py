"""Growing a volume's image; the filesystem inside follows when the node expands it."""

from dataclasses import replace

from mooring.domain import errors, ids, quantities, volumes
from mooring.planning import admission
from mooring.volumes.local.context import NodeContext, PoolBook, image_of


def expand_volume(
    context: NodeContext, volume_id: ids.VolumeId, size_bytes: int
) -> volumes.VolumeRecord:
    """Grows a volume; see `ports.nodes.NodeStorage.expand_volume`."""
    with context.locks.hold(volume_id):
        book, record = context.volume(volume_id)
        context.require_ready(record)
        record = settle(book, record)
        if size_bytes > record.spec.size_bytes:
            record = _grow(book, record, size_bytes)
        path = book.image_path(image_of(volume_id))
        device = context.host.loops.find(path) if path else None
        if device is not None:
            context.host.loops.resize(device.path)
        return record


def settle(book: PoolBook, record: volumes.VolumeRecord) -> volumes.VolumeRecord:
    """Ends an expansion that a kill interrupted: the image tells whether it had happened."""
    if record.growing_to_bytes is None:
        return record
    usage = book.images.images().get(image_of(record.spec.volume_id))
    reached = usage is not None and usage.size_bytes >= record.growing_to_bytes
    size_bytes = record.growing_to_bytes if reached else record.spec.size_bytes
    return _settled(book, record, size_bytes)


def _grow(book: PoolBook, record: volumes.VolumeRecord, size_bytes: int) -> volumes.VolumeRecord:
    spec = record.spec
    admission.check_size(size_bytes, spec.filesystem, book.images.capacity())
    with book.records.promising():
        cost_of = book.records.cost_of
        shown = quantities.show_bytes(size_bytes)
        book.trash.admit(
            cost_of(spec, size_bytes) - cost_of(spec, spec.size_bytes),
            f"growing volume {spec.volume_id} to {shown}",
        )
        record = replace(record, growing_to_bytes=size_bytes)
        book.records.put_volume(record)
    try:
        book.images.grow(image_of(spec.volume_id), size_bytes, preallocate=spec.preallocated)
    except errors.MooringError:
        _settled(book, record, spec.size_bytes)
        raise
    return _settled(book, record, size_bytes)


def _settled(book: PoolBook, record: volumes.VolumeRecord, size_bytes: int) -> volumes.VolumeRecord:
    done = replace(record, spec=replace(record.spec, size_bytes=size_bytes), growing_to_bytes=None)
    book.records.put_volume(done)
    return done
