"""Staging: the loop device of a volume, and the one mount of the filesystem inside it.

`mkfs` runs only on a volume that is recorded as never formatted and found empty, after the
intent was recorded; what a killed `mkfs` left behind is known by that mark.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mooring.domain import errors, ids, volumes
from mooring.planning import mount_options
from mooring.ports import host
from mooring.volumes.local import attachments, offline_growth
from mooring.volumes.local.context import NodeContext, PoolBook, image_of


@dataclass(frozen=True)
class Access:
    """How a pod wants a volume.

    Attributes:
        mode: Filesystem or Block.
        filesystem: The type asked for; None for Block, or when the recorded one will do.
        mount_flags: Options asked for; see `planning.mount_options`.
    """

    mode: volumes.VolumeMode = volumes.VolumeMode.FILESYSTEM
    filesystem: volumes.FilesystemType | None = None
    mount_flags: tuple[str, ...] = ()


def stage(context: NodeContext, volume_id: ids.VolumeId, staging_path: str, access: Access) -> None:
    """Attaches a volume and, in filesystem mode, mounts it at the staging path.

    Raises:
        NotFound: No such volume.
        InvalidInput: Another mode or filesystem than the volume's, or a forbidden mount option.
        DataCorrupt: The device holds what the volume never had; nothing was changed.
        PreconditionFailed: The volume is being filled, or something else is mounted there.
    """
    with context.locks.hold(volume_id), context.standstill.ended_for(volume_id):
        book, record = context.volume(volume_id)
        context.require_ready(record)
        require_access(record, access)
        image = book.images.path(image_of(volume_id))
        if access.mode is volumes.VolumeMode.BLOCK:
            attachments.attach(context.host, record, image)
            return
        mount_staged(context, (book, record), context.host.paths.resolve(staging_path), access)


def unstage(context: NodeContext, volume_id: ids.VolumeId, staging_path: str) -> None:
    """Takes away what `stage` made; repeating it, or an absent volume, is no error.

    Raises:
        InUse: The volume is still published or busy.
        Busy: It is frozen.
        HostFailure: It may lie in a pool that could not be opened.
        PreconditionFailed: Something that is not this volume is mounted there.
    """
    target = context.host.paths.resolve(staging_path)
    with context.locks.hold(volume_id), context.standstill.ended_for(volume_id):
        found = context.find_volume(volume_id)
        image = found[0].image_path(image_of(volume_id)) if found else None
        devices = attachments.devices_of(context.host, image)
        mounts = attachments.filesystem_mounts(context.host, devices)
        bound = attachments.device_targets(context.host, devices)
        users = [mount.target for mount in (*mounts, *bound) if mount.target != target]
        if users:
            raise errors.InUse(
                f"volume {volume_id} is still mounted at {users[0]}; it is unstaged once the pods "
                "that use it are gone"
            )
        attachments.require_thawed(context.host, mounts)
        if attachments.unmount_own(context.host, target, devices):
            raise errors.PreconditionFailed(
                f"what is mounted at {target} is not volume {volume_id}; it is left alone"
            )
        if image is None:
            return
        for device in devices:
            context.host.loops.detach(device.path, image)


def require_access(record: volumes.VolumeRecord, access: Access) -> None:
    """Refuses a mode or filesystem that the volume does not have.

    Raises:
        InvalidInput: It is asked for.
    """
    spec = record.spec
    if access.mode is not spec.mode:
        raise errors.InvalidInput(
            f"volume {spec.volume_id} has mode {spec.mode.value}, not {access.mode.value}"
        )
    if access.filesystem is not None and access.filesystem is not spec.filesystem:
        inside = spec.filesystem.value if spec.filesystem else "no filesystem"
        raise errors.InvalidInput(
            f"volume {spec.volume_id} has {inside} inside, not {access.filesystem.value}"
        )


def mount_staged(
    context: NodeContext,
    volume: tuple[PoolBook, volumes.VolumeRecord],
    staging: Path,
    access: Access,
) -> None:
    """Attaches, formats a new volume, and mounts it; the caller holds the lock."""
    book, record = volume
    spec = record.spec
    if spec.filesystem is None:
        raise errors.InvalidInput(f"volume {spec.volume_id} has no filesystem inside")
    options = mount_options.plan(
        access.mount_flags, spec.filesystem, preallocated=spec.preallocated
    )
    image = book.images.path(image_of(spec.volume_id))
    device = attachments.attach(context.host, record, image)
    try:
        if _is_staged(context, device, staging):
            return
        context.host.paths.make_folder(staging)
        _mount(context, volume, (device, image, staging), options)
    except errors.MooringError as error:
        attachments.release_idle(context.host, image)
        if isinstance(error, errors.DataCorrupt):
            raise errors.DataCorrupt(_advice(record, image, error)) from error
        raise


def _mount(
    context: NodeContext,
    volume: tuple[PoolBook, volumes.VolumeRecord],
    places: tuple[host.LoopDevice, Path, Path],
    options: Sequence[str],
) -> None:
    """Mounts a device with an image at a path, after it has its filesystem, at its full size."""
    device, image, staging = places
    filesystem, new = volume[1].spec.filesystem, not volume[1].formatted
    if filesystem is None:
        return
    _ensure_formatted(context, volume, device.path, image)
    growing = not new and "ro" not in options and not volume[0].guard.read_only
    mounted = attachments.filesystem_mounts(context.host, [device])
    if growing:  # a device that was not detached after its last mount is as small as it was then
        context.host.loops.resize(device.path)
    if (
        growing
        and not mounted
        and context.host.filesystems.must_grow_unmounted(device.path, filesystem)
    ):
        device = offline_growth.grow_in_copy(context, *volume, device)
    context.host.mounts.mount(device.path, staging, filesystem.value, options)
    if growing:
        context.host.filesystems.grow(device.path, staging, filesystem)


def _advice(record: volumes.VolumeRecord, image: Path, error: errors.DataCorrupt) -> str:
    what = f"volume {record.spec.volume_id} cannot be mounted: {error}. It was not changed"
    if record.formatted:
        return f"{what}: restore a snapshot or backup of it, or examine a copy of {image}"
    return f"{what}: save what you need of {image}, then delete the claim and make a new one"


def _is_staged(context: NodeContext, device: host.LoopDevice, staging: Path) -> bool:
    layers = attachments.mounts_at(context.host, staging)
    if not layers:
        return False
    if attachments.is_filesystem_of(layers[-1], device):
        return True
    raise errors.PreconditionFailed(
        f"{layers[-1].source} is mounted at {staging}, where the volume belongs"
    )


def _ensure_formatted(
    context: NodeContext,
    volume: tuple[PoolBook, volumes.VolumeRecord],
    device: Path,
    image: Path,
) -> None:
    """Makes the filesystem of a new volume, and checks that of an old one.

    Raises:
        DataCorrupt: The device holds what the volume never had, or lacks what it had.
    """
    book, record = volume
    spec = record.spec
    if spec.filesystem is None:
        return
    half_made = record.formatting and not record.formatted
    found = None if half_made else context.host.filesystems.probe(device, image)
    if record.formatted:
        if found == spec.filesystem.value:
            return
        raise errors.DataCorrupt(f"it shall hold {spec.filesystem.value}, not {found or 'nothing'}")
    if found is not None:
        raise errors.DataCorrupt(f"it is new, but holds {found}")
    record = replace(record, formatting=True)
    book.records.put_volume(record)
    context.host.filesystems.make(device, spec.filesystem, blank=not half_made)
    book.records.put_volume(replace(record, formatted=True, formatting=False))


def staged_mounts(
    context: NodeContext, devices: Sequence[host.LoopDevice], staging: Path
) -> Sequence[host.Mount]:
    """Returns the mounts of the devices' filesystem at a staging path."""
    return [
        mount
        for mount in attachments.filesystem_mounts(context.host, devices)
        if mount.target == staging
    ]
