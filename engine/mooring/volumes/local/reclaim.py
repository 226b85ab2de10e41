"""Deleting a volume that nobody uses, and bringing it back from the trash."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from mooring.domain import errors, ids, volumes
from mooring.planning import kubelet_paths
from mooring.volumes.local import attachments, expand, provision
from mooring.volumes.local.context import NodeContext, PoolBook, image_of

_FREEING_SECONDS = 30.0
"""How long one pool may keep the others waiting, once; its own work goes on."""


def delete_volume(context: NodeContext, volume_id: ids.VolumeId) -> None:
    """Deletes a volume; see `ports.nodes.NodeStorage.delete_volume`."""
    with context.locks.hold(volume_id), context.standstill.ended_for(volume_id):
        context.background.stop(volume_id)
        found = context.find_volume(volume_id)
        if found is None:
            return
        book, record = found
        if record.state is volumes.VolumeState.TRASHED:
            return
        image = book.image_path(image_of(volume_id))
        _let_go_of_stage(context, record, image)
        devices = attachments.devices_of(context.host, image)
        if devices:
            raise errors.InUse(
                f"volume {volume_id} is still in use: {devices[0].path} carries it; "
                "delete the pods that use it first"
            )
        finish(book, record)


def _let_go_of_stage(
    context: NodeContext, record: volumes.VolumeRecord, image: Path | None
) -> None:
    """Gives back what no pod has any more, and a kubelet that was killed may never ask for.

    Kubernetes deletes a volume when its claim is gone, and a claim goes after its last pod.
    """
    devices = attachments.devices_of(context.host, image)
    mounts = attachments.filesystem_mounts(context.host, devices)
    is_staged = bool(mounts) and all(kubelet_paths.is_stage(mount.target) for mount in mounts)
    if is_staged:
        attachments.require_thawed(context.host, mounts)
        for mount in mounts:
            attachments.unmount_own(context.host, mount.target, devices)
    if is_staged or record.state is volumes.VolumeState.FILLING or record.spec.filesystem is None:
        attachments.release_idle(context.host, image)


def finish(book: PoolBook, record: volumes.VolumeRecord) -> None:
    """Deletes a volume that nobody uses, or ends a deletion that was killed: to the trash, or away.

    A full pool has no room for a record either, and deletions are what makes room. So there the
    trash is freed first, the oldest first, and then the volume itself goes at once; killed without
    an intent it is one whose image is missing, and the retry ends it.
    """
    book.bases.drop_all_of(record.spec.volume_id)
    while True:
        try:
            if book.trash.keep(record):
                return
            full = False
        except errors.SpaceExhausted:
            full = True
        # The next try goes on from what this one has recorded.
        record = book.records.volume(record.spec.volume_id) or record
        if not full or not book.trash.free_something(1):
            break
    if record.state is not volumes.VolumeState.DELETING:
        with contextlib.suppress(errors.SpaceExhausted):
            book.records.put_volume(replace(record, state=volumes.VolumeState.DELETING))
    if record.trashing is not None:
        book.images.remove(image_of(record.trashing.trashed_id))
    provision.discard(book, record.spec.volume_id)


def undelete_volume(context: NodeContext, volume_id: ids.VolumeId) -> volumes.VolumeRecord:
    """Brings back a volume; see `ports.nodes.NodeTrash.undelete_volume`."""
    with context.locks.hold(volume_id):
        book, record = context.volume(volume_id)
        if record.state is volumes.VolumeState.TRASHED:
            record = expand.settle(book, book.trash.bring_back(record))
        context.require_ready(record)
        return record


def free_trash_for_low_space(context: NodeContext) -> Mapping[ids.PoolName, int]:
    """Frees trash in every pool whose space is low; returns how many volumes went, by pool."""

    def free(book: PoolBook) -> int:
        try:
            return book.trash.free_for_low_space()
        except (errors.MooringError, OSError):
            return 0  # its status tells

    looks = {book.name: partial(free, book) for book in context.pools.values()}
    freed = context.low_space.ask(looks, _FREEING_SECONDS)
    return {name: count for name, count in freed.items() if count}


def free_expired_trash(context: NodeContext) -> Sequence[ids.VolumeId]:
    """Frees what is kept long enough in every pool; see `ports.nodes.NodeTrash`."""
    failures: list[errors.MooringError] = []

    def free(book: PoolBook) -> Sequence[ids.VolumeId]:
        try:
            return book.trash.free_expired()
        except errors.MooringError as error:
            failures.append(error)
            return ()

    looks = {book.name: partial(free, book) for book in context.pools.values()}
    freed = context.expired_trash.ask(looks, _FREEING_SECONDS)
    if failures:
        raise failures[0]
    return [volume_id for found in freed.values() for volume_id in found]
