"""How a pool's images lie on its disk, and what that means for a copy under a freeze."""

import threading
import time
from collections.abc import Mapping

from mooring.domain import ids
from mooring.planning import fragmentation
from mooring.ports import extents as extents_port
from mooring.ports import pools as pool_ports

ORDINARY_FREEZE_SECONDS = 10.0
"""What a freeze may take when nobody says otherwise; a volume's health is held against it."""


class Layout:
    """What is known of the extents of one pool's images, and how quickly it copies them.

    Args:
        images: The images.
        extents: What tells; None where the pool's disk cannot.
    """

    def __init__(
        self, images: pool_ports.ImagePool, extents: extents_port.ImageExtents | None
    ) -> None:
        self.extents = extents
        self._images = images
        self._guard = threading.Lock()
        self._counts: Mapping[ids.ImageId, int] = {}
        self._pace = fragmentation.Pace()

    def known(self, image: ids.ImageId) -> int | None:
        """Returns how many extents an image had when they were last counted; None if never."""
        return self._counts.get(image)

    def count(self, image: ids.ImageId) -> int:
        """Counts an image's extents now; 0 where the pool's disk cannot tell."""
        if self.extents is None:
            return 0
        count = self.extents.count(image)
        with self._guard:
            self._counts = {**self._counts, image: count}
        return count

    def keep_only(self, images: set[ids.ImageId]) -> None:
        """Forgets the counts of all other images."""
        with self._guard:
            self._counts = {key: count for key, count in self._counts.items() if key in images}

    def fault(self, image: ids.ImageId) -> str | None:
        """Says what is wrong with an image whose copy would not end within an ordinary freeze."""
        count = self.known(image) or 0
        if fragmentation.fits_a_freeze(self._pace, count, ORDINARY_FREEZE_SECONDS):
            return None
        return (
            f"it lies in {count:,} pieces, so a snapshot would hold its writers for about "
            f"{self._pace.predicted_seconds(count):.0f} s and is refused until they are fewer"
        )

    def require_quick(self, volume_id: ids.VolumeId, timeout_seconds: float) -> None:
        """Refuses to copy a volume in use that has too many pieces for a freeze.

        Raises:
            Fragmented: It has.
        """
        count = self.count(ids.ImageId(volume_id))
        fragmentation.require_quick(self._pace, count, timeout_seconds, f"volume {volume_id}")

    def copy_sharing(self, source: ids.ImageId, target: ids.ImageId, size_bytes: int) -> None:
        """Copies an image as it is now, and learns from how long it took."""
        began = time.monotonic()
        self._images.copy(source, target, size_bytes, preallocate=False)
        count = self.known(source)
        if count is not None:
            self._pace = self._pace.learned(count, time.monotonic() - began)
