"""What a backup remembers of its volume: what the operator says, and what the device itself tells.

Of a volume of another driver only its device tells anything. Such a driver may hand out a device
that is no image of the volume, an archive of its files for example, and call it a success; so the
device of a Filesystem claim has to hold a whole filesystem, or there is no backup of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mooring.backup import devices, superblocks
from mooring.domain import backups, errors

if TYPE_CHECKING:
    from mooring.backup import mover_spec

_SMALLEST_SECTOR_BYTES = 512


def open_source(spec: mover_spec.BackupSpec) -> devices.VolumeSource:
    """Opens the device of a backup; errors as for `devices.VolumeSource`."""
    try:
        return devices.VolumeSource(spec.device)
    except errors.PermissionDenied as error:
        if spec.volume.foreign_mode is None:
            raise
        raise errors.PermissionDenied(
            "the node gives the driver's block device to a group that movers are not in: set "
            "device_ownership_from_security_context = true for its containerd or CRI-O, or "
            "MOORING_DEVICE_GROUP_IDS of the operator to the group of its block devices"
        ) from error


def identify(source: devices.VolumeSource) -> superblocks.Superblock | None:
    """Reads the superblock of a source; None when it has none that is known."""
    head = bytearray(min(superblocks.HEAD_BYTES, source.size_bytes))
    source.read_into(memoryview(head), 0)
    return superblocks.read(bytes(head))


def of(uid: str, source: devices.VolumeSource) -> backups.VolumeFacts:
    """Returns the facts of a volume of which nobody says anything but who it is.

    Its sectors may be no larger than its filesystem, or a device without one, can do with.
    """
    found = identify(source)
    sector_bytes = found.sector_size_bytes if found else source.sector_size_bytes()
    return backups.VolumeFacts(
        uid=uid,
        size_bytes=source.size_bytes,
        sector_size_bytes=max(sector_bytes, _SMALLEST_SECTOR_BYTES),
        filesystem=found.filesystem if found else None,
        filesystem_uuid=found.uuid if found else None,
    )


def read(spec: mover_spec.VolumeSpec, source: devices.VolumeSource) -> backups.VolumeFacts:
    """Returns the facts of a volume.

    Raises:
        Unsupported: It is a Filesystem volume of another driver, without a filesystem.
        DataCorrupt: Its filesystem is larger than the device.
    """
    found = identify(source)
    if spec.foreign_mode is not None:
        return _foreign(spec, source, found)
    return backups.VolumeFacts(
        uid=spec.uid,
        size_bytes=spec.size_bytes or source.size_bytes,
        sector_size_bytes=spec.sector_size_bytes,
        filesystem=spec.filesystem or (found.filesystem if found else None),
        filesystem_uuid=spec.filesystem_uuid or (found.uuid if found else None),
    )


def _foreign(
    spec: mover_spec.VolumeSpec,
    source: devices.VolumeSource,
    found: superblocks.Superblock | None,
) -> backups.VolumeFacts:
    sector_bytes = source.sector_size_bytes()
    if spec.foreign_mode == "Block":
        return backups.VolumeFacts(spec.uid, source.size_bytes, sector_bytes)
    if found is None:
        raise errors.Unsupported(
            "the block volume that the driver made of its snapshot holds no ext4, xfs or btrfs: "
            "the driver keeps folders, not images, or encrypts them, or the claim has another "
            "filesystem. Back up its files with another tool, or move them to a Mooring volume"
        )
    if found.size_bytes > source.size_bytes:
        raise errors.DataCorrupt(
            f"the block volume that the driver made of its snapshot has {source.size_bytes} bytes, "
            f"and the {found.filesystem} in it {found.size_bytes}: it is not whole; restore the "
            "snapshot by hand to see what the driver makes of it"
        )
    # The copy's sectors may be larger than those that the filesystem was made with.
    sector_bytes = max(min(sector_bytes, found.sector_size_bytes), _SMALLEST_SECTOR_BYTES)
    return backups.VolumeFacts(
        uid=spec.uid,
        size_bytes=source.size_bytes,
        sector_size_bytes=sector_bytes,
        filesystem=found.filesystem,
        filesystem_uuid=found.uuid,
    )
