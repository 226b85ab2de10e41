"""What the kubelet was killed over and forgot: it is let go when its pod is surely gone.

A kubelet finds what it has to give back by the links and folders that it made. Killed after it
removed its own and before it called the driver, it never calls: the device stays attached, and
whoever waits for that waits for ever.
"""

import time
from collections import deque
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mooring.domain import errors, ids, volumes
from mooring.planning import kubelet_paths
from mooring.ports import host
from mooring.volumes.local import attachments
from mooring.volumes.local.context import NodeContext, PoolBook, image_of
from mooring.volumes.local.side_by_side import SideBySide

_PATIENCE_SECONDS = 30.0
_WAIT_SECONDS = 30.0
"""A target without its pod's folder may be one that is being made for a pod that just came."""


@dataclass(frozen=True)
class _Attached:
    """An image with a loop device; a mover's is nobody else's, and need not stay attached."""

    key: ids.VolumeId | ids.SnapshotId
    image: Path
    is_a_movers: bool


class Forgotten:
    """Lets go of devices and mounts of pods that are gone; somebody has to call `check`.

    Args:
        context: The node.

    Attributes:
        wait_seconds: How long a target must have been there, or without its pod.
    """

    def __init__(self, context: NodeContext) -> None:
        self._context = context
        self._host = context.host
        self.wait_seconds = _WAIT_SECONDS
        self._since: dict[Path, float] = {}
        self._looking = SideBySide[None]("forgotten", alone=True)
        self._notes: deque[str] = deque()

    def check(self) -> list[str]:
        """Looks once at all mounts; returns what was let go, or could not be, for people."""
        now = time.monotonic()
        orphans = {mount.target for mount in self._host.mounts.table() if self._is_orphan(mount)}
        # An agent that is new remembers nothing, but the folders do.
        unchanged = self._host.paths.unchanged_seconds
        self._since = {
            target: self._since[target] if target in self._since else now - unchanged(target.parent)
            for target in orphans
        }
        due = [target for target, since in self._since.items() if now - since >= self.wait_seconds]
        if not due:
            return []
        looks = {
            book.name: partial(self._look_at, book, due) for book in self._context.pools.values()
        }
        self._looking.ask(looks, _PATIENCE_SECONDS)
        return [self._notes.popleft() for _ in range(len(self._notes))]

    def _look_at(self, book: PoolBook, due: Collection[Path]) -> None:
        """Lets go of what lies in one pool."""
        for attached in self._attached(book):
            devices = attachments.devices_of(self._host, attached.image)
            shown = (
                *attachments.filesystem_mounts(self._host, devices),
                *attachments.device_targets(self._host, devices),
            )
            for target in {mount.target for mount in shown} & set(due):
                try:
                    self._let_go(attached, target)
                    self._notes.append(f"{attached.key}: let go at {target}, whose pod is gone")
                except errors.MooringError as error:
                    self._since[target] = time.monotonic()
                    self._notes.append(f"{attached.key}: cannot be let go at {target}: {error}")

    def _is_orphan(self, mount: host.Mount) -> bool:
        folder = kubelet_paths.pod_folder_of(mount.target)
        return folder is not None and self._is_gone(folder)

    def _is_gone(self, pod: Path) -> bool:
        identity = self._host.paths.identity
        return identity(pod) is None and identity(pod.parent) is not None

    def _attached(self, book: PoolBook) -> Iterator[_Attached]:
        """Returns the attached images of a pool."""
        carried = attachments.by_image(self._host)
        filling = volumes.VolumeState.FILLING
        found: list[tuple[ids.VolumeId | ids.SnapshotId, bool]] = [
            *((r.spec.volume_id, r.state is filling) for r in book.records.list_volumes().records),
            *((r.snapshot_id, True) for r in book.records.list_snapshots().records),
        ]
        for key, is_a_movers in found:
            image = book.image_path(image_of(key))
            if image is not None and self._host.paths.identity(image) in carried:
                yield _Attached(key, image, is_a_movers)

    def _let_go(self, attached: _Attached, target: Path) -> None:
        key = ids.VolumeId(attached.key)  # no snapshot ever stands still
        with self._context.locks.hold(key), self._context.standstill.ended_for(key):
            folder = kubelet_paths.pod_folder_of(target)
            if folder is None or not self._is_gone(folder):
                return
            devices = attachments.devices_of(self._host, attached.image)
            mounts = attachments.filesystem_mounts(self._host, devices)
            if all(mount.target == target for mount in mounts):
                attachments.require_thawed(self._host, mounts)
            attachments.detach_upper_devices(self._host, devices, shown_at=target)
            if attachments.unmount_own(self._host, target, devices):
                return
            with suppress(errors.PreconditionFailed):  # it holds something, and is left as it is
                self._host.paths.remove(target)
            if attached.is_a_movers:
                attachments.release_idle(self._host, attached.image)
