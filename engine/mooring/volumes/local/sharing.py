"""How much volumes of one pool share with other images: what they have not been paid for with."""

from collections.abc import Mapping, Sequence

from mooring.domain import errors, ids, pools, volumes
from mooring.ports import pools as pool_ports


class Sharing:
    """What images of one pool share.

    Args:
        pool: The pool.
    """

    def __init__(self, pool: pool_ports.OpenPool) -> None:
        self._copies_on_write = pool.images.properties.copies_on_write
        self._extents = pool.extents

    def at_most(
        self,
        listed: Sequence[volumes.VolumeRecord],
        kept: Sequence[volumes.SnapshotRecord],
        images: Mapping[ids.ImageId, pools.ImageUsage],
    ) -> Mapping[ids.ImageId, int]:
        """Returns what each volume may share at most, without looking at the disk.

        That is what it takes, and no more than all that was ever made by sharing: which image
        comes from which is not always known any more.
        """
        if not self._copies_on_write:
            return {}

        def used_bytes(key: ids.VolumeId | ids.SnapshotId) -> int:
            usage = images.get(ids.ImageId(key))
            return usage.used_bytes if usage else 0

        made_bytes = sum(used_bytes(one.snapshot_id) for one in kept)
        made_bytes += sum(used_bytes(one.spec.volume_id) for one in listed if _is_made(one))
        return {
            ids.ImageId(one.spec.volume_id): min(used_bytes(one.spec.volume_id), made_bytes)
            for one in listed
            if one.state is not volumes.VolumeState.TRASHED
        }

    def exactly(self, at_most: Mapping[ids.ImageId, int]) -> Mapping[ids.ImageId, int]:
        """Returns what the volumes share, as the disk tells; what it does not tell stays as it is.

        It takes time with the number of extents, so it is asked only where the answer decides.
        """
        if self._extents is None:
            return at_most
        return {image: self._shared_bytes(image, bound) for image, bound in at_most.items()}

    def _shared_bytes(self, image: ids.ImageId, bound_bytes: int) -> int:
        if self._extents is None or not bound_bytes:
            return bound_bytes
        try:
            found = self._extents.window(image, 0, _WHOLE_BYTES)
        except errors.MooringError:
            return bound_bytes
        return sum(one.length_bytes for one in found if one.shared)


def _is_made(record: volumes.VolumeRecord) -> bool:
    """Whether a volume may have been made by sharing; a preallocated copy has its own blocks."""
    return record.spec.source is not None and not record.spec.preallocated


_WHOLE_BYTES = (1 << 63) - 1
