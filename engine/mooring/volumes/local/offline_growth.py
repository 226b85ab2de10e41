"""Growing a filesystem that is not mounted, in a copy of its image that then takes its place.

A `resize2fs` that is killed in the middle leaves an ext4 that no check repairs by itself. So the
tool never works on the volume: whatever becomes of it, the image holds the old filesystem or the
new one. What a kill leaves of the copy is removed before the next try, or when the agent starts.
"""

from mooring.domain import errors, ids, volumes
from mooring.ports import host
from mooring.volumes.local import attachments
from mooring.volumes.local.context import NodeContext, PoolBook, image_of
from mooring.volumes.local.ledger import GROWN_SUFFIX


def grow_in_copy(
    context: NodeContext, book: PoolBook, record: volumes.VolumeRecord, device: host.LoopDevice
) -> host.LoopDevice:
    """Grows the filesystem of an attached, unmounted volume; returns the device that carries it.

    The caller holds the volume's lock.

    Raises:
        DataCorrupt: The filesystem is damaged; nothing was changed.
        SpaceExhausted: The pool has no room for the copy; nothing was changed.
    """
    spec = record.spec
    if spec.filesystem is None:
        return device
    image = image_of(spec.volume_id)
    grown = ids.ImageId(f"{image}{GROWN_SUFFIX}")
    _remove(context, book, grown)
    context.host.loops.flush(device.path)
    try:
        book.images.copy(image, grown, spec.size_bytes, preallocate=spec.preallocated)
        path = book.images.path(grown)
        copy = attachments.attach(context.host, record, path)
        context.host.filesystems.grow_unmounted(copy.path, spec.filesystem)
        context.host.loops.detach(copy.path, path)
        context.host.loops.detach(device.path, book.images.path(image))
        book.images.rename(grown, image)
    except errors.MooringError:
        _remove(context, book, grown)
        raise
    return attachments.attach(context.host, record, book.images.path(image))


def remove_copies(context: NodeContext, book: PoolBook) -> list[str]:
    """Removes the copies that a killed process left; returns what was done."""
    left = [image for image in book.images.images() if image.endswith(GROWN_SUFFIX)]
    for image in left:
        _remove(context, book, image)
    return [f"{image}: removed a copy that was being grown" for image in left]


def _remove(context: NodeContext, book: PoolBook, image: ids.ImageId) -> None:
    attachments.release_idle(context.host, book.image_path(image))
    book.images.remove(image)
