"""Deleting a volume that nobody uses."""

import contextlib
from dataclasses import replace

from mooring.domain import errors, ids, volumes
from mooring.volumes.local import attachments, provision
from mooring.volumes.local.context import NodeContext, image_of


def delete_volume(context: NodeContext, volume_id: ids.VolumeId) -> None:
    """Deletes a volume; see `ports.nodes.NodeStorage.delete_volume`."""
    with context.locks.hold(volume_id):
        context.background.stop(volume_id)
        found = context.find_volume(volume_id)
        if found is None:
            return
        book, record = found
        image = book.image_path(image_of(volume_id))
        if record.state is volumes.VolumeState.FILLING:
            attachments.release_idle(context.host, image)
        devices = attachments.devices_of(context.host, image)
        if devices:
            raise errors.InUse(
                f"volume {volume_id} is still in use: {devices[0].path} carries it; "
                "delete the pods that use it first"
            )
        # A full pool has no room for the intent either, and deletions are what makes room. Killed
        # without it, the volume is one whose image is missing, and the retry ends it.
        with contextlib.suppress(errors.SpaceExhausted):
            book.records.put_volume(replace(record, state=volumes.VolumeState.DELETING))
        provision.discard(book, volume_id)
