"""What a mover may open: one snapshot, read-only, or one new volume that a restore fills.

Both are raw block devices whose node belongs to the mover's group for as long as it is exposed.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from mooring.domain import errors, ids, volumes
from mooring.ports import host
from mooring.volumes.local import attachments
from mooring.volumes.local.context import NodeContext, image_of

SNAPSHOT_PREFIX = "snapshot/"
POPULATE_PREFIX = "populate/"


@dataclass(frozen=True)
class _Exposed:
    """The image behind a handle."""

    key: str
    image: Path
    sector_size_bytes: int
    writable: bool
    keeps_blocks: bool = False


def is_handle(volume_handle: str) -> bool:
    """Whether a CSI volume handle stands for something that only a mover opens."""
    return volume_handle.startswith((SNAPSHOT_PREFIX, POPULATE_PREFIX))


class Exposures:
    """Block devices for movers on one node.

    Args:
        context: The node.
    """

    def __init__(self, context: NodeContext) -> None:
        self._context = context
        self._host = context.host

    def expose(self, handle: str, target_path: str, *, read_only: bool, group_id: int) -> None:
        """Shows a handle's device at a target path, usable by one group; repeating is no error.

        Args:
            handle: `snapshot/<snapshot id>` or `populate/<volume id>`.
            target_path: Where the device file is made.
            read_only: What is asked for; a snapshot is read-only in any case.
            group_id: The mover's group.

        Raises:
            NotFound: There is no such snapshot or volume, or the handle is no handle.
            PreconditionFailed: The volume is not one that a restore fills, or the snapshot is not
                ready, or something else is mounted there.
        """
        target = self._host.paths.resolve(target_path)
        key = _key(handle)
        with self._context.locks.hold(key):
            exposed = self._require(handle)
            device = self._host.loops.attach(
                exposed.image,
                sector_size_bytes=exposed.sector_size_bytes,
                read_only=read_only or not exposed.writable,
                keeps_blocks=exposed.keeps_blocks,
            )
            try:
                self._show(device, target, group_id)
            except errors.MooringError:
                attachments.release_idle(self._host, exposed.image)
                raise

    def _show(self, device: host.LoopDevice, target: Path, group_id: int) -> None:
        layers = attachments.mounts_at(self._host, target)
        if layers and not attachments.is_own(self._host, layers[-1], [device]):
            raise errors.PreconditionFailed(
                f"{layers[-1].source} is mounted at {target}, where the device belongs; it is "
                "left alone"
            )
        self._host.loops.permit(device.path, group_id)
        if layers:
            return
        self._host.paths.make_file(target)
        self._host.mounts.bind(device.path, target)
        if self._host.paths.block_device(target) != device.number:
            raise errors.HostFailure(f"the device did not appear at {target}")

    def unexpose(self, handle: str, target_path: str) -> None:
        """Takes a handle's device away; repeating it, or a deleted handle, is no error.

        Raises:
            PreconditionFailed: Something else is mounted there.
        """
        target = self._host.paths.resolve(target_path)
        with self._context.locks.hold(_key(handle)):
            image = self._image(handle)
            devices = attachments.devices_of(self._host, image)
            if attachments.unmount_own(self._host, target, devices):
                raise errors.PreconditionFailed(
                    f"what is mounted at {target} is not {handle}; it is left alone"
                )
            self._host.paths.remove(target)
            if image is not None:
                self._let_go(handle, image)

    def _let_go(self, handle: str, image: Path) -> None:
        """Detaches what nobody else was given; until it is gone the image counts as in use."""
        if handle.startswith(SNAPSHOT_PREFIX):  # several movers may read one snapshot
            attachments.release_idle(self._host, image)
            return
        for device in attachments.devices_of(self._host, image):
            # A volume is filled by one mover, so a bind that is left is the kubelet's own.
            with contextlib.suppress(errors.InUse):
                self._host.loops.detach(device.path, image)

    def _image(self, handle: str) -> Path | None:
        if handle.startswith(SNAPSHOT_PREFIX):
            snapshot_id = ids.parse_snapshot_id(handle.removeprefix(SNAPSHOT_PREFIX))
            found = self._context.find_snapshot(snapshot_id)
            return found[0].image_path(image_of(snapshot_id)) if found else None
        volume_id = ids.parse_volume_id(handle.removeprefix(POPULATE_PREFIX))
        found_volume = self._context.find_volume(volume_id)
        return found_volume[0].image_path(image_of(volume_id)) if found_volume else None

    def _require(self, handle: str) -> _Exposed:
        if handle.startswith(SNAPSHOT_PREFIX):
            book, snapshot = self._context.snapshot(ids.SnapshotId(_key(handle)))
            if snapshot.state is not volumes.SnapshotState.READY:
                raise errors.PreconditionFailed(f"{handle} is {snapshot.state.value}")
            image = book.images.path(image_of(snapshot.snapshot_id))
            return _Exposed(_key(handle), image, snapshot.sector_size_bytes, writable=False)
        found, record = self._context.volume(ids.VolumeId(_key(handle)))
        if record.state is not volumes.VolumeState.FILLING:
            raise errors.PreconditionFailed(
                f"volume {record.spec.volume_id} is {record.state.value}: only a volume that a "
                "restore fills is opened for a mover"
            )
        image = found.images.path(image_of(record.spec.volume_id))
        spec = record.spec
        return _Exposed(
            _key(handle),
            image,
            spec.sector_size_bytes,
            writable=True,
            keeps_blocks=spec.preallocated,
        )


def _key(handle: str) -> str:
    """Returns the checked id in a handle.

    Raises:
        NotFound: It is no handle, or its id has not the grammar of one.
    """
    if handle.startswith(SNAPSHOT_PREFIX):
        return ids.parse_snapshot_id(handle.removeprefix(SNAPSHOT_PREFIX))
    if handle.startswith(POPULATE_PREFIX):
        return ids.parse_volume_id(handle.removeprefix(POPULATE_PREFIX))
    raise errors.NotFound(f"{handle[:96]!r} is neither a snapshot nor a volume to fill")
