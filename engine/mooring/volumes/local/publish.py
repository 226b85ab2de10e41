"""Publishing a staged volume to a pod, and what the kubelet asks about it afterwards.

After each bind the mount table is read back: a pod must never write to the root disk because a
mount below it was missing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mooring.domain import errors, ids, volumes
from mooring.ports import host
from mooring.volumes.local import attachments, inventory, staging
from mooring.volumes.local.context import NodeContext, PoolBook, image_of


@dataclass(frozen=True)
class Publication:
    """Where and how a pod gets a volume.

    Attributes:
        staging_path: Where it was staged.
        target_path: Where the pod's mount, or device file, is made.
        access: Mode, filesystem and options, as when it was staged.
        read_only: Whether the pod may not write.
        single_target: Whether only one pod may have it (CSI's SINGLE_NODE_SINGLE_WRITER).
    """

    staging_path: str
    target_path: str
    access: staging.Access
    read_only: bool = False
    single_target: bool = False


@dataclass(frozen=True)
class VolumeStats:
    """What the kubelet shows of a published volume.

    Attributes:
        size_bytes: Size of the device, for Block volumes.
        usage: Use of the filesystem; None for Block volumes.
        condition: Health.
    """

    size_bytes: int
    usage: host.FilesystemUsage | None
    condition: volumes.VolumeCondition


class NodePublisher:
    """The node half of the CSI driver, for the volumes of one node.

    Args:
        context: The node.
    """

    def __init__(self, context: NodeContext) -> None:
        self._context = context
        self._host = context.host

    def stage(self, volume_id: ids.VolumeId, staging_path: str, access: staging.Access) -> None:
        """Attaches a volume and mounts it at the staging path; see `staging.stage`."""
        staging.stage(self._context, volume_id, staging_path, access)

    def unstage(self, volume_id: ids.VolumeId, staging_path: str) -> None:
        """Takes away what `stage` made; see `staging.unstage`."""
        staging.unstage(self._context, volume_id, staging_path)

    def publish(self, volume_id: ids.VolumeId, publication: Publication) -> None:
        """Shows a staged volume at a target path; repeating it is no error.

        Raises:
            NotFound: No such volume.
            InvalidInput: Another mode or filesystem than the volume's.
            AlreadyExists: It is published there in another way.
            PreconditionFailed: It is not staged, is published elsewhere although only one pod may
                have it, or something else is mounted there.
        """
        target = self._host.paths.resolve(publication.target_path)
        with self._context.locks.hold(volume_id), self._context.standstill.ended_for(volume_id):
            book, record = self._context.volume(volume_id)
            self._context.require_ready(record)
            staging.require_access(record, publication.access)
            if publication.access.mode is volumes.VolumeMode.BLOCK:
                self._publish_device((book, record), target, publication)
            else:
                self._publish_filesystem((book, record), target, publication)

    def unpublish(self, volume_id: ids.VolumeId, target_path: str) -> None:
        """Takes a volume away from a pod, and removes the mount point alone.

        Repeating it, or an absent volume, is no error.

        Raises:
            InUse: It is busy.
            Busy: It is mounted nowhere else, and frozen.
            HostFailure: It may be the mounted volume of a pool that could not be opened.
            PreconditionFailed: Something that is not this volume is mounted there.
        """
        target = self._host.paths.resolve(target_path)
        with self._context.locks.hold(volume_id), self._context.standstill.ended_for(volume_id):
            found = self._found_at(volume_id, target)
            image = found[0].image_path(image_of(volume_id)) if found else None
            devices = attachments.devices_of(self._host, image)
            mounts = attachments.filesystem_mounts(self._host, devices)
            if all(mount.target == target for mount in mounts):
                attachments.require_thawed(self._host, mounts)
            if attachments.unmount_own(self._host, target, devices):
                raise errors.PreconditionFailed(
                    f"what is mounted at {target} is not volume {volume_id}; it is left alone"
                )
            self._host.paths.remove(target)
            if image is not None:
                self._detach_unused_readers(devices, image)

    def stats(self, volume_id: ids.VolumeId, volume_path: str) -> VolumeStats:
        """Returns use and health of a volume at one of its paths.

        Raises:
            NotFound: No such volume, or it is not there.
        """
        found = self._context.find_volume(volume_id)
        if found is None:
            raise errors.NotFound(f"there is no volume {volume_id}")
        book, record = found  # also of a pool that failed, whose condition says so
        device = self._device_at(book, volume_id, self._host.paths.resolve(volume_path))
        condition = inventory.volume_condition(self._context, book, record)
        block = record.spec.mode is volumes.VolumeMode.BLOCK
        usage = None if block else self._host.paths.usage(Path(volume_path))
        return VolumeStats(device.size_bytes, usage, condition)

    def node_expand(self, volume_id: ids.VolumeId, volume_path: str) -> int:
        """Makes device and filesystem follow a grown image; returns the size in bytes.

        Raises:
            NotFound: No such volume, or it is not there.
            Busy: It is frozen.
        """
        with self._context.locks.hold(volume_id), self._context.standstill.ended_for(volume_id):
            book, record = self._context.volume(volume_id)
            self._context.require_ready(record)
            path = self._host.paths.resolve(volume_path)
            device = self._device_at(book, volume_id, path)
            self._host.loops.resize(device.path)
            filesystem = record.spec.filesystem
            if filesystem is not None:
                mounts = attachments.filesystem_mounts(self._host, [device])
                attachments.require_thawed(self._host, mounts)
                writable = [one.target for one in mounts if "ro" not in one.options]
                self._host.filesystems.grow(device.path, (writable or [path])[0], filesystem)
            return record.spec.size_bytes

    def _found_at(
        self, volume_id: ids.VolumeId, target: Path
    ) -> tuple[PoolBook, volumes.VolumeRecord] | None:
        """Returns a volume's pool and record; where nothing is mounted, doubt hurts nobody."""
        try:
            return self._context.find_volume(volume_id)
        except errors.HostFailure:
            if attachments.mounts_at(self._host, target):
                raise
            return None

    def _publish_filesystem(
        self,
        volume: tuple[PoolBook, volumes.VolumeRecord],
        target: Path,
        publication: Publication,
    ) -> None:
        volume_id = volume[1].spec.volume_id
        staged_at = self._host.paths.resolve(publication.staging_path)
        devices = attachments.devices_of(self._host, volume[0].image_path(image_of(volume_id)))
        if not devices:
            raise errors.PreconditionFailed(f"volume {volume_id} is not staged")
        if not staging.staged_mounts(self._context, devices, staged_at):
            # The device is there but its mount vanished: made again, never published around.
            staging.mount_staged(self._context, volume, staged_at, publication.access)
        read_only = publication.read_only or "ro" in publication.access.mount_flags
        layers = attachments.mounts_at(self._host, target)
        if layers:
            self._require_published(layers[-1], devices, read_only=read_only)
            return
        if publication.single_target:
            mounts = attachments.filesystem_mounts(self._host, devices)
            # Sub-paths of a published volume are the kubelet's own binds of folders inside it.
            others = [one for one in mounts if one.root == "/" and one.target != staged_at]
            self._require_single(volume_id, others)
        self._host.paths.make_folder(target)
        self._host.mounts.bind(staged_at, target, ("ro",) if read_only else ())
        self._read_back(target, devices)

    def _publish_device(
        self,
        volume: tuple[PoolBook, volumes.VolumeRecord],
        target: Path,
        publication: Publication,
    ) -> None:
        book, record = volume
        volume_id = record.spec.volume_id
        image = book.images.path(image_of(volume_id))
        devices = attachments.devices_of(self._host, image)
        if not devices:
            raise errors.PreconditionFailed(f"volume {volume_id} is not staged")
        layers = attachments.mounts_at(self._host, target)
        if layers:
            self._require_published(layers[-1], devices, read_only=publication.read_only)
            return
        if publication.single_target:
            self._require_single(volume_id, attachments.device_targets(self._host, devices))
        # A read-only bind does not keep a device from being written, so it is a device of its own.
        device = attachments.attach(self._host, record, image, read_only=publication.read_only)
        try:
            self._host.paths.make_file(target)
            self._host.mounts.bind(device.path, target)
            self._read_back(target, [device])
        except errors.MooringError:
            self._detach_unused_readers([device], image)
            raise

    def _require_published(
        self, mount: host.Mount, devices: Sequence[host.LoopDevice], *, read_only: bool
    ) -> None:
        if not attachments.is_own(self._host, mount, devices):
            raise errors.PreconditionFailed(f"{mount.source} is already mounted at {mount.target}")
        number = self._host.paths.block_device(mount.target)
        if number is None:
            present = "ro" in mount.options
        else:
            present = any(one.read_only for one in devices if one.number == number)
        if present != read_only:
            shown = "read-only" if present else "writable"
            raise errors.AlreadyExists(f"the volume is already published {shown} at {mount.target}")

    def _require_single(self, volume_id: ids.VolumeId, others: Sequence[host.Mount]) -> None:
        if others:
            raise errors.PreconditionFailed(
                f"volume {volume_id} is already published at {others[0].target}, "
                "and only one pod may have it"
            )

    def _read_back(self, target: Path, devices: Sequence[host.LoopDevice]) -> None:
        layers = attachments.mounts_at(self._host, target)
        if not layers or not attachments.is_own(self._host, layers[-1], devices):
            raise errors.HostFailure(f"the volume did not appear at {target}")

    def _device_at(self, book: PoolBook, volume_id: ids.VolumeId, path: Path) -> host.LoopDevice:
        devices = attachments.devices_of(self._host, book.image_path(image_of(volume_id)))
        layers = attachments.mounts_at(self._host, path)
        for device in devices:
            if layers and attachments.is_own(self._host, layers[-1], [device]):
                return device
        raise errors.NotFound(f"volume {volume_id} is not at {path}")

    def _detach_unused_readers(self, devices: Sequence[host.LoopDevice], image: Path) -> None:
        for device in devices:
            if device.read_only and not attachments.device_targets(self._host, [device]):
                self._host.loops.detach(device.path, image)
