"""Which loop devices and mounts are a volume's own, by the identity of its image.

Nothing here trusts a path: a device is ours if its backing file is our image, and a mount is
ours if it shows such a device.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from mooring.domain import errors, volumes
from mooring.ports import host

_MAXIMUM_LAYERS = 32


def attach(
    ports: host.Host, record: volumes.VolumeRecord, image: Path, *, read_only: bool = False
) -> host.LoopDevice:
    """Attaches a volume's image with its recorded sector size, and its blocks kept if reserved."""
    return ports.loops.attach(
        image,
        sector_size_bytes=record.spec.sector_size_bytes,
        read_only=read_only,
        keeps_blocks=record.spec.preallocated,
    )


def devices_of(ports: host.Host, image: Path | None) -> Sequence[host.LoopDevice]:
    """Returns every loop device that carries an image."""
    return ports.loops.find_all(image) if image else ()


def by_image(ports: host.Host) -> Mapping[host.FileIdentity, Sequence[host.LoopDevice]]:
    """Returns the loop devices of every image, from one scan of the kernel's devices."""
    carried: dict[host.FileIdentity, list[host.LoopDevice]] = {}
    for device in ports.loops.attached():
        if device.lost_image:
            continue
        carried.setdefault(device.backing, []).append(device)
    return carried


def is_filesystem_of(mount: host.Mount, device: host.LoopDevice) -> bool:
    """Whether a mount shows the filesystem inside a loop device."""
    # btrfs shows a device number of its own, so there the source tells.
    return mount.device == device.number or (
        mount.filesystem == volumes.FilesystemType.BTRFS.value and mount.source == str(device.path)
    )


def filesystem_mounts(ports: host.Host, devices: Sequence[host.LoopDevice]) -> Sequence[host.Mount]:
    """Returns the mounts of the filesystem inside any of the devices, in mount order."""
    return tuple(
        mount
        for mount in ports.mounts.table()
        if any(is_filesystem_of(mount, device) for device in devices)
    )


def device_targets(ports: host.Host, devices: Sequence[host.LoopDevice]) -> Sequence[host.Mount]:
    """Returns the files that any of the devices' nodes is bound on."""
    numbers = {device.number for device in devices}
    roots = {f"/{device.path.name}" for device in devices}
    return tuple(
        mount
        for mount in ports.mounts.table()
        if mount.root in roots and ports.paths.block_device(mount.target) in numbers
    )


def mounts_at(ports: host.Host, target: Path) -> Sequence[host.Mount]:
    """Returns what is mounted at a path, lowest first."""
    return tuple(mount for mount in ports.mounts.table() if mount.target == target)


def is_own(ports: host.Host, mount: host.Mount, devices: Sequence[host.LoopDevice]) -> bool:
    """Whether a mount shows the filesystem or the node of one of the devices."""
    if any(is_filesystem_of(mount, device) for device in devices):
        return True
    number = ports.paths.block_device(mount.target)
    return number is not None and number in {device.number for device in devices}


def unmount_own(ports: host.Host, target: Path, devices: Sequence[host.LoopDevice]) -> bool:
    """Unmounts all layers at a path that are ours; returns whether something foreign is left.

    Raises:
        InUse: It is busy.
    """
    for _ in range(_MAXIMUM_LAYERS):
        layers = mounts_at(ports, target)
        if not layers:
            return False
        if not is_own(ports, layers[-1], devices):
            return True
        ports.mounts.unmount(target)
    return True


def detach_upper_devices(
    ports: host.Host, devices: Sequence[host.LoopDevice], shown_at: Path | None = None
) -> None:
    """Detaches what the kubelet attached on top of devices that no pod has.

    It attaches after a device is published and detaches before it gives it back, unless it is
    killed in between. A device that is published at `shown_at` alone is no pod's either.

    Raises:
        InUse: Somebody has one of them open.
    """
    for device in devices:
        if all(mount.target == shown_at for mount in device_targets(ports, [device])):
            for upper in ports.loops.on_top_of(device.path):
                ports.loops.detach(upper.path, device.path)


def release_idle(ports: host.Host, image: Path | None) -> Sequence[host.LoopDevice]:
    """Detaches the devices of an image that are mounted and bound nowhere; returns the others.

    What a mover or the kubelet still has open is detached by the kernel with the last close.
    """
    left: list[host.LoopDevice] = []
    for device in devices_of(ports, image):
        if image is None or filesystem_mounts(ports, [device]) or device_targets(ports, [device]):
            left.append(device)
            continue
        try:
            detach_upper_devices(ports, [device])
            ports.loops.detach(device.path, image)
        except errors.InUse:
            left.append(device)
    return left


def require_thawed(ports: host.Host, mounts: Sequence[host.Mount]) -> None:
    """Refuses what a frozen filesystem would break; the volume's lock keeps own freezes away.

    Unmounting a frozen filesystem succeeds, but leaves it attached and out of everyone's reach.

    Raises:
        Busy: The filesystem of these mounts is frozen.
    """
    if mounts and ports.freezes.is_frozen(mounts[0].target):
        raise errors.Busy(
            f"the filesystem at {mounts[0].target} is frozen, and not by Mooring: whoever froze it "
            f"has to thaw it, or you do with `fsfreeze -u {mounts[0].target}`"
        )


@contextmanager
def quiesced(ports: host.Host, image: Path | None, *, timeout_seconds: float) -> Iterator[None]:
    """Makes an image whole and still for the time of a `with` block.

    A mounted filesystem is frozen; a raw block device cannot be, so it is only written back.

    Raises:
        HostFailure: It could not be frozen, or not until the end of the block.
    """
    device = ports.loops.find(image) if image else None
    if device is None:
        yield
        return
    mounts = filesystem_mounts(ports, [device])
    if not mounts:
        ports.loops.flush(device.path)
        yield
        return
    with ports.freezes.frozen(mounts[0].target, timeout_seconds=timeout_seconds):
        yield
