"""What a node has: volumes, snapshots and pools, with use and health."""

from collections.abc import Mapping, Sequence

from mooring.domain import ids, pools, volumes
from mooring.planning import admission, evacuation, sizes
from mooring.ports import host
from mooring.ports import pools as pool_ports
from mooring.volumes.local import attachments, pull
from mooring.volumes.local.context import NodeContext, PoolBook, image_of

_HEALTHY = volumes.VolumeCondition(abnormal=False, message="healthy")
_NOTHING = pools.PoolCapacity(0, 0)


def list_volumes(context: NodeContext) -> Sequence[volumes.VolumeStatus]:
    """Returns every volume of the node with use and health, by id.

    Volumes of a pool that fails or does not answer are left out; `list_pools` tells that from then
    on, so ask it afterwards.
    """
    answers = context.ask_each(lambda book: _statuses(context, book))
    found = [status for _, statuses in answers for status in statuses or ()]
    return sorted(found, key=lambda status: status.record.spec.volume_id)


def _statuses(context: NodeContext, book: PoolBook) -> list[volumes.VolumeStatus]:
    carried = attachments.by_image(context.host)
    table = context.host.mounts.table()
    images = book.images.images()
    statuses: list[volumes.VolumeStatus] = []
    for record in book.records.list_volumes().records:
        path = book.image_path(image_of(record.spec.volume_id)) if carried else None
        identity = context.host.paths.identity(path) if path else None
        devices = carried.get(identity, ()) if identity else ()
        statuses.append(_status(book, record, images, (devices, table)))
    return statuses


def volume_condition(
    context: NodeContext, book: PoolBook, record: volumes.VolumeRecord
) -> volumes.VolumeCondition:
    """Returns the health of one volume."""
    if book.guard.failure:
        return volumes.VolumeCondition(True, f"pool {book.name}: {book.guard.failure}")
    path = book.image_path(image_of(record.spec.volume_id))
    devices = attachments.devices_of(context.host, path)
    table = context.host.mounts.table()
    return _status(book, record, book.images.images(), (devices, table)).condition


def list_snapshots(context: NodeContext) -> Sequence[volumes.SnapshotRecord]:
    """Returns every snapshot of the node, by id; as for volumes, `list_pools` tells the rest."""
    answers = context.ask_each(lambda book: book.records.list_snapshots().records)
    found = [record for _, records in answers for record in records or ()]
    return sorted(found, key=lambda record: record.snapshot_id)


def list_pools(context: NodeContext) -> Sequence[pools.PoolStatus]:
    """Returns every pool of the node, also those that could not be opened, by name."""
    answers = context.ask_each(lambda book: _pool_status(context, book))
    found = [status or _unread_status(context, book) for book, status in answers]
    found += [_failed_status(context, failed) for failed in context.failed]
    return sorted(found, key=lambda status: status.name)


def _status(
    book: PoolBook,
    record: volumes.VolumeRecord,
    images: Mapping[ids.ImageId, pools.ImageUsage],
    seen: tuple[Sequence[host.LoopDevice], Sequence[host.Mount]],
) -> volumes.VolumeStatus:
    devices, table = seen
    usage = images.get(image_of(record.spec.volume_id))
    return volumes.VolumeStatus(
        record=record,
        used_bytes=usage.used_bytes if usage else 0,
        published=bool(devices),
        condition=_progress(record) or _condition(book, record, usage, (devices, table)),
        extents=book.layout.known(image_of(record.spec.volume_id)),
    )


def _progress(record: volumes.VolumeRecord) -> volumes.VolumeCondition | None:
    if record.pull is None:
        return None
    return volumes.VolumeCondition(abnormal=False, message=pull.progress_of(record))


def _condition(
    book: PoolBook,
    record: volumes.VolumeRecord,
    usage: pools.ImageUsage | None,
    seen: tuple[Sequence[host.LoopDevice], Sequence[host.Mount]],
) -> volumes.VolumeCondition:
    devices, table = seen
    faults = _image_faults(record, usage)
    writes_wait = record.spec.volume_id in book.standstill
    if writes_wait:
        faults.append(book.standstill[record.spec.volume_id])
    fragmented = book.layout.fault(image_of(record.spec.volume_id))
    if fragmented:
        faults.append(fragmented)
    for device in devices:
        if book.images.properties.direct_io and not device.direct_io:
            faults.append(f"{device.path} has lost direct I/O")
        if device.read_only:
            continue
        for mount in table:
            own = attachments.is_filesystem_of(mount, device)
            if own and "ro" in mount.super_options and "rw" in mount.options:
                faults.append(f"its filesystem at {mount.target} went read-only after an error")
    return volumes.VolumeCondition(True, "; ".join(faults), writes_wait) if faults else _HEALTHY


def _image_faults(record: volumes.VolumeRecord, usage: pools.ImageUsage | None) -> list[str]:
    if record.state in (volumes.VolumeState.CREATING, volumes.VolumeState.DELETING):
        return []
    if usage is None:
        return ["its image is missing from the pool"]
    if usage.size_bytes < record.spec.size_bytes:
        return [f"its image has only {usage.size_bytes} bytes"]
    return []


def _pool_status(context: NodeContext, book: PoolBook) -> pools.PoolStatus:
    faults = (*book.records.list_volumes().faults, *book.records.list_snapshots().faults)
    message = "; ".join((*filter(None, [book.guard.read_only, book.left_out()]), *faults))
    healthy = not message
    budget = book.records.estimate()
    emptied = book.evacuation()
    if emptied is not None:
        message = "; ".join(filter(None, [message, evacuation.message(emptied)]))
    return pools.PoolStatus(
        name=book.name,
        pool_uuid=book.pool_uuid,
        node=context.node,
        backend=book.images.properties.backend,
        capacity=budget.capacity,
        provisioned_bytes=budget.promised_bytes,
        available_bytes=0 if message else sizes.round_down(budget.without_bases.available_bytes),
        healthy=healthy,
        message=message or _shortage(book, budget),
        waiting_volumes=len(book.standstill),
        evacuation=emptied,
        adopted_from=book.adopted_from,
    )


def _shortage(book: PoolBook, budget: admission.Budget) -> str:
    standing_still = next(iter(book.standstill.values()), "")
    return standing_still or (admission.low_message(budget) if budget.without_bases.is_low else "")


def _unread_status(context: NodeContext, book: PoolBook) -> pools.PoolStatus:
    return pools.PoolStatus(
        book.name, book.pool_uuid, context.node, book.images.properties.backend, _NOTHING,
        provisioned_bytes=0, available_bytes=0, healthy=False, message=book.left_out(),
    )  # fmt: skip


def _failed_status(context: NodeContext, failed: pool_ports.FailedPool) -> pools.PoolStatus:
    return pools.PoolStatus(
        failed.name, failed.pool_uuid, context.node, failed.backend, _NOTHING,
        provisioned_bytes=0, available_bytes=0, healthy=False, message=failed.message,
    )  # fmt: skip
