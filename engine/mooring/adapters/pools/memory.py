"""Images that exist only as numbers and bytes in memory: for tests of everything above pools."""

from collections.abc import Mapping
from pathlib import Path

from mooring.domain import errors, ids, pools


class MemoryPool:
    """Images in memory, with a capacity; implements `ports.pools.ImagePool`.

    Args:
        capacity_bytes: What the pool can hold; only written and preallocated bytes count.
        snapshots_while_published: Which kind of backend it stands in for.
    """

    def __init__(self, capacity_bytes: int, *, snapshots_while_published: bool = True) -> None:
        self._capacity_bytes = capacity_bytes
        self._sizes: dict[ids.ImageId, int] = {}
        self._preallocated: set[ids.ImageId] = set()
        self._pieces: dict[ids.ImageId, dict[int, bytes]] = {}
        self._snapshots_while_published = snapshots_while_published

    @property
    def properties(self) -> pools.PoolProperties:
        """What this backend can do; never changes."""
        return pools.PoolProperties(
            backend=pools.PoolBackend.MEMORY,
            copies_on_write=self._snapshots_while_published,
            snapshots_while_published=self._snapshots_while_published,
            attachable=False,
        )

    def allocate(self, image: ids.ImageId, size_bytes: int, *, preallocate: bool) -> None:
        """Makes an image that reads as zeros; see the port."""
        present = self._sizes.get(image)
        if present is not None:
            if present != size_bytes:
                raise errors.AlreadyExists(f"image {image} has {present} bytes")
            return
        self._take(size_bytes if preallocate else 0, f"make {image}")
        self._sizes[image] = size_bytes
        self._pieces[image] = {}
        if preallocate:
            self._preallocated.add(image)

    def copy(
        self, source: ids.ImageId, target: ids.ImageId, size_bytes: int, *, preallocate: bool
    ) -> None:
        """Makes `target` with the bytes of `source`; see the port."""
        if target in self._sizes:
            return
        present = self._require(source)
        if size_bytes < present:
            raise errors.SizeOutOfRange(f"a copy of {present} bytes does not fit in {size_bytes}")
        written = sum(len(piece) for piece in self._pieces[source].values())
        self._take(size_bytes if preallocate else written, f"make {target}")
        self._sizes[target] = size_bytes
        self._pieces[target] = dict(self._pieces[source])
        if preallocate:
            self._preallocated.add(target)

    def grow(self, image: ids.ImageId, size_bytes: int, *, preallocate: bool) -> None:
        """Extends an image with zeros; see the port."""
        present = self._require(image)
        if size_bytes > present:
            self._take(size_bytes - present if preallocate else 0, f"grow {image}")
            self._sizes[image] = size_bytes

    def rename(self, image: ids.ImageId, name: ids.ImageId) -> None:
        """Gives an image another name; see the port."""
        self._require(image)
        preallocated = image in self._preallocated
        pieces, size_bytes = self._pieces[image], self._sizes[image]
        self.remove(image)
        self.remove(name)
        self._pieces[name], self._sizes[name] = pieces, size_bytes
        if preallocated:
            self._preallocated.add(name)

    def remove(self, image: ids.ImageId) -> None:
        """Removes an image; an absent one is no error."""
        self._sizes.pop(image, None)
        self._pieces.pop(image, None)
        self._preallocated.discard(image)

    def images(self) -> Mapping[ids.ImageId, pools.ImageUsage]:
        """Returns every image with its size and use."""
        return {
            image: pools.ImageUsage(size_bytes, self._used(image))
            for image, size_bytes in self._sizes.items()
        }

    def path(self, image: ids.ImageId) -> Path:
        """Has no files.

        Raises:
            NotFound: There is no such image.
            Unsupported: There is, but not as a file.
        """
        self._require(image)
        raise errors.Unsupported("images in memory have no files")

    def capacity(self) -> pools.PoolCapacity:
        """Returns the space of the pool."""
        used_bytes = sum(self._used(image) for image in self._sizes)
        return pools.PoolCapacity(self._capacity_bytes, self._capacity_bytes - used_bytes)

    def write(self, image: ids.ImageId, offset_bytes: int, content: bytes) -> None:
        """Writes into an image, as a volume's user would."""
        self._require(image)
        self._take(0 if image in self._preallocated else len(content), f"write {image}")
        self._pieces[image][offset_bytes] = content

    def read(self, image: ids.ImageId, offset_bytes: int, length_bytes: int) -> bytes:
        """Reads an image back, zeros where nothing was written."""
        self._require(image)
        content = bytearray(length_bytes)
        for start, piece in self._pieces[image].items():
            for index, value in enumerate(piece, start - offset_bytes):
                if 0 <= index < length_bytes:
                    content[index] = value
        return bytes(content)

    def _require(self, image: ids.ImageId) -> int:
        if image not in self._sizes:
            raise errors.NotFound(f"there is no image {image}")
        return self._sizes[image]

    def _used(self, image: ids.ImageId) -> int:
        if image in self._preallocated:
            return self._sizes[image]
        return sum(len(piece) for piece in self._pieces[image].values())

    def _take(self, wanted_bytes: int, action: str) -> None:
        if wanted_bytes > self.capacity().free_bytes:
            raise errors.SpaceExhausted(f"cannot {action}: the pool's memory is full")
