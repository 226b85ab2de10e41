"""The first act of an agent: ending what its predecessor was killed in.

A creation is rolled back, because its caller, if it still wants it, asks again; a deletion is
finished; a freeze is thawed; a device that nothing uses is detached. Nothing is attached again.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from mooring.domain import errors, volumes
from mooring.ports import host
from mooring.volumes.local import (
    attachments,
    expand,
    offline_growth,
    provision,
    pull,
    reclaim,
    snapshot,
)
from mooring.volumes.local.context import NodeContext, PoolBook, image_of


def recover(context: NodeContext) -> list[str]:
    """Ends every interrupted operation of the node; returns what was done or could not be."""
    notes: list[str] = []
    for book in context.pools.values():
        notes += recover_pool(context, book)
    return notes


def recover_pool(context: NodeContext, book: PoolBook) -> list[str]:
    """Ends every interrupted operation in one pool; returns what was done or could not be."""
    carried = attachments.by_image(context.host)
    notes = _noted(book.name, partial(offline_growth.remove_copies, context, book))
    for record in book.records.list_volumes().records:
        key = record.spec.volume_id
        if _is_settled(context, book, record, carried):
            continue
        notes += _noted(key, partial(_recover_volume, context, book, record))
    for one in book.records.list_snapshots().records:
        notes += _noted(one.snapshot_id, partial(_recover_snapshot, context, book, one))
    return notes


def _is_settled(
    context: NodeContext,
    book: PoolBook,
    record: volumes.VolumeRecord,
    carried: Mapping[host.FileIdentity, Sequence[host.LoopDevice]],
) -> bool:
    """Whether a volume is whole and unused, as most are, so that there is nothing to look at."""
    if record.state is volumes.VolumeState.TRASHED:
        return True
    whole = record.state in (volumes.VolumeState.READY, volumes.VolumeState.FILLING)
    if not whole or record.growing_to_bytes is not None:
        return False
    image = book.image_path(image_of(record.spec.volume_id)) if carried else None
    identity = context.host.paths.identity(image) if image else None
    return identity not in carried


def _noted(key: str, step: Callable[[], list[str]]) -> list[str]:
    """Runs one step; a failure is a note, so that the others are still recovered."""
    try:
        return [f"{key}: {note}" for note in step()]
    except (errors.MooringError, OSError) as error:
        return [f"{key}: could not be recovered: {error}"]


def _recover_volume(
    context: NodeContext, book: PoolBook, record: volumes.VolumeRecord
) -> list[str]:
    notes = _release(context, book, record)
    volume_id = record.spec.volume_id
    unfinished = (volumes.VolumeState.CREATING, volumes.VolumeState.DELETING)
    if record.state in unfinished and _devices(context, book, record):
        return [*notes, f"is {record.state.value}, and waits until its device is detached"]
    if record.state is volumes.VolumeState.CREATING and pull.is_pulled(context, record.spec):
        return [*notes, pull.progress_of(record)]  # it is taken up when it is asked for again
    if record.state is volumes.VolumeState.CREATING:
        provision.discard(book, volume_id)
        return [*notes, "took back an interrupted creation"]
    if record.state is volumes.VolumeState.DELETING:
        reclaim.finish(book, record)
        return [*notes, "finished an interrupted deletion"]
    if record.growing_to_bytes is not None:
        size_bytes = expand.settle(book, record).spec.size_bytes
        return [*notes, f"ended an interrupted expansion at {size_bytes} bytes"]
    return notes


def _recover_snapshot(
    context: NodeContext, book: PoolBook, record: volumes.SnapshotRecord
) -> list[str]:
    if record.state is volumes.SnapshotState.READY:
        if record.base is None or book.records.volume(record.source_volume_id) is not None:
            return []
        snapshot.discard(book, record.snapshot_id)
        return ["dropped what was kept for a backup of a volume that is gone"]
    if attachments.devices_of(context.host, book.image_path(image_of(record.snapshot_id))):
        return ["its deletion waits until it is detached"]
    snapshot.discard(book, record.snapshot_id)
    return [f"ended a snapshot that was {record.state.value}"]


def _release(context: NodeContext, book: PoolBook, record: volumes.VolumeRecord) -> list[str]:
    """Thaws a volume's filesystem, and detaches its device if no mount uses it."""
    image = book.image_path(image_of(record.spec.volume_id))
    devices = _devices(context, book, record)
    if image is None or not devices:
        return []
    mounts = attachments.filesystem_mounts(context.host, devices)
    if mounts:
        context.host.freezes.thaw(mounts[0].target)
        return []
    if record.spec.mode is volumes.VolumeMode.BLOCK or attachments.device_targets(
        context.host, devices
    ):
        return []
    for device in devices:
        context.host.loops.detach(device.path, image)
    return ["detached an unused loop device"]


def _devices(
    context: NodeContext, book: PoolBook, record: volumes.VolumeRecord
) -> Sequence[host.LoopDevice]:
    image = book.image_path(image_of(record.spec.volume_id))
    return attachments.devices_of(context.host, image)
