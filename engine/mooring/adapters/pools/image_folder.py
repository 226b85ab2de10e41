"""The durable mechanics that every backend of image files shares.

An image is made under a temporary name, brought to the disk, then renamed: it appears whole or
not at all. How bytes are copied and blocks are reserved differs between backends and is passed in.
"""

import errno
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mooring.adapters.host import files, sparse, syscalls
from mooring.domain import errors, ids, pools, quantities

_IMAGE_ID = re.compile(r"[a-z0-9][a-z0-9.-]{0,127}\Z")
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_ZEROS_BYTES = 1 << 20
_BLOCK_BYTES = 512

Copier = Callable[[int, int, bool], None]
"""Gives the target descriptor the source's bytes; with True, in blocks of its own, no holes."""


class ImageFilePool:
    """Images as files of one folder, which this process alone has opened; `ports.pools.ImagePool`.

    A backend derives from it and says how a copy is made, and what that makes possible.

    Args:
        folder: The folder; made if it is missing.
        copier: How the backend copies.
        backend: Which one it is.
        copies_on_write: See `domain.pools.PoolProperties`.
        snapshots_while_published: See there.
        read_only: Whether nothing in the folder may be changed, also not by looking.
    """

    def __init__(
        self,
        folder: Path,
        copier: Copier,
        *,
        backend: pools.PoolBackend,
        copies_on_write: bool,
        snapshots_while_published: bool,
        read_only: bool = False,
    ) -> None:
        if not read_only:
            folder.mkdir(mode=0o700, exist_ok=True)
        self._folder = folder
        self._copier = copier
        self._properties = pools.PoolProperties(
            backend=backend,
            copies_on_write=copies_on_write,
            snapshots_while_published=snapshots_while_published,
            attachable=True,
            direct_io=takes_direct_io(folder, read_only=read_only),
        )
        self._descriptor = files.open_folder(folder)
        if not read_only:
            files.remove_leftovers(self._descriptor)

    @property
    def properties(self) -> pools.PoolProperties:
        """What this backend can do; never changes."""
        return self._properties

    def close(self, let_go: Callable[[int], None] = os.close) -> None:
        """Lets go of the folder."""
        let_go(self._descriptor)

    def allocate(self, image: ids.ImageId, size_bytes: int, *, preallocate: bool) -> None:
        """Makes an image that reads as zeros; see `ports.pools.ImagePool.allocate`."""
        present = self._size(image)
        if present is not None:
            if present != size_bytes:
                raise errors.AlreadyExists(
                    f"image {image} has {present} bytes, not the {size_bytes} asked for"
                )
            return
        with self._made(image) as descriptor:
            os.ftruncate(descriptor, size_bytes)
            if preallocate:
                reserve(descriptor, 0, size_bytes)

    def copy(
        self, source: ids.ImageId, target: ids.ImageId, size_bytes: int, *, preallocate: bool
    ) -> None:
        """Makes `target` with the bytes of `source`; see `ports.pools.ImagePool.copy`."""
        if self._size(target) is not None:
            return
        present = self._require(source)
        if size_bytes < present:
            raise errors.SizeOutOfRange(
                f"a copy of {quantities.format_bytes(present)} does not fit into "
                f"{quantities.format_bytes(size_bytes)}"
            )
        with self._opened(source, os.O_RDONLY) as origin, self._made(target) as descriptor:
            self._copier(origin, descriptor, preallocate)
            os.ftruncate(descriptor, size_bytes)
            if preallocate and size_bytes > present:
                reserve(descriptor, present, size_bytes - present)

    def grow(self, image: ids.ImageId, size_bytes: int, *, preallocate: bool) -> None:
        """Extends an image with zeros; see `ports.pools.ImagePool.grow`."""
        present = self._require(image)
        if size_bytes <= present:
            return
        with self._opened(image, os.O_RDWR) as descriptor, no_space_named(f"grow {image}"):
            try:
                if preallocate:
                    reserve(descriptor, present, size_bytes - present)
                os.ftruncate(descriptor, size_bytes)
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, present)  # the image keeps its size
                raise

    def rename(self, image: ids.ImageId, name: ids.ImageId) -> None:
        """Gives an image another name; see `ports.pools.ImagePool.rename`."""
        target = file_name(name)
        self._require(image)
        with no_space_named(f"rename {image}"):
            files.rename_durably(self._descriptor, file_name(image), target)

    def remove(self, image: ids.ImageId) -> None:
        """Removes an image and what is left of a half-made one; an absent one is no error."""
        name = file_name(image)
        with no_space_named(f"remove {image}"):
            files.remove_durably(self._descriptor, files.temporary_name(name))
            files.remove_durably(self._descriptor, name)

    def images(self) -> Mapping[ids.ImageId, pools.ImageUsage]:
        """Returns every whole image with its size and use."""
        found: dict[ids.ImageId, pools.ImageUsage] = {}
        for name in files.names(self._descriptor):
            if not _IMAGE_ID.match(name):
                continue
            try:
                status = os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
            except FileNotFoundError:
                continue
            found[ids.ImageId(name)] = pools.ImageUsage(
                status.st_size, status.st_blocks * _BLOCK_BYTES
            )
        return found

    def path(self, image: ids.ImageId) -> Path:
        """Returns the image's file; where the filesystem has shut down, the one it had.

        Raises:
            NotFound: There is no such image.
        """
        try:
            self._require(image)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
        return self._folder / image

    def capacity(self) -> pools.PoolCapacity:
        """Returns the space of the backing filesystem.

        Raises:
            HostFailure: The backing filesystem cannot be read.
        """
        try:
            status = os.fstatvfs(self._descriptor)
        except OSError as error:
            raise errors.HostFailure(f"cannot read the space of {self._folder}: {error}") from error
        unit = status.f_frsize
        return pools.PoolCapacity(status.f_blocks * unit, status.f_bavail * unit)

    def _size(self, image: ids.ImageId) -> int | None:
        try:
            return os.stat(file_name(image), dir_fd=self._descriptor, follow_symlinks=False).st_size
        except FileNotFoundError:
            return None

    def _require(self, image: ids.ImageId) -> int:
        size_bytes = self._size(image)
        if size_bytes is None:
            raise errors.NotFound(f"there is no image {image}")
        return size_bytes

    @contextmanager
    def _opened(self, image: ids.ImageId, flags: int) -> Iterator[int]:
        descriptor = os.open(
            file_name(image), flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._descriptor
        )
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def _made(self, image: ids.ImageId) -> Iterator[int]:
        """Yields a new empty file, which becomes the image when the block succeeds."""
        name = file_name(image)
        temporary = files.temporary_name(name)
        files.remove_durably(self._descriptor, temporary)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with no_space_named(f"make {image}"):
            try:
                descriptor = os.open(temporary, flags, 0o600, dir_fd=self._descriptor)
                try:
                    yield descriptor
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
                files.rename_durably(self._descriptor, temporary, name)
            except (OSError, errors.MooringError):
                files.remove_durably(self._descriptor, temporary)
                raise


def reserve(descriptor: int, offset_bytes: int, length_bytes: int) -> None:
    """Gives a range of a file blocks of its own that read as zeros where nothing was written."""
    try:
        syscalls.fallocate(descriptor, 0, offset_bytes, length_bytes)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        _write_zeros(descriptor, offset_bytes, length_bytes)


def _write_zeros(descriptor: int, offset_bytes: int, length_bytes: int) -> None:
    zeros = bytes(_ZEROS_BYTES)
    end = offset_bytes + length_bytes
    while offset_bytes < end:
        piece = memoryview(zeros)[: end - offset_bytes]
        offset_bytes += os.pwrite(descriptor, piece, offset_bytes)


def copy_by_reading(source: int, target: int) -> None:
    """Copies what is not a hole by reading and writing, so that no block is shared."""
    buffer = memoryview(bytearray(4 << 20))
    for start, length_bytes in sparse.data_ranges(source):
        offset, end = start, start + length_bytes
        while offset < end:
            count = os.preadv(source, [buffer[: end - offset]], offset)
            if not count:
                break
            written = 0
            while written < count:
                written += os.pwrite(target, buffer[written:count], offset + written)
            offset += count


@contextmanager
def no_space_named(action: str) -> Iterator[None]:
    """Turns the kernel's numbers into the tree's errors.

    Raises:
        SpaceExhausted: The filesystem is full.
        HostFailure: Any other failure of a system call.
    """
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            raise errors.SpaceExhausted(
                f"cannot {action}: the pool's disk is full. Delete volumes or snapshots of it, or "
                "make room on the disk"
            ) from error
        raise errors.HostFailure(f"cannot {action}: {error}") from error


@contextmanager
def no_space_ignored() -> Iterator[None]:
    """Goes on where a full filesystem has no room for something that can be written later."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise


def takes_direct_io(folder: Path, *, read_only: bool = False) -> bool:
    """Whether files of a folder can be opened for direct I/O.

    An image that is there is asked, so that a full disk has no say in whether a pool opens.
    """
    descriptor = files.open_folder(folder)
    present = next((name for name in files.names(descriptor) if _IMAGE_ID.match(name)), None)
    if present is None and read_only:
        os.close(descriptor)
        return False
    name = present or files.temporary_name("direct-io")
    flags = os.O_RDONLY if present else os.O_RDWR | os.O_CREAT
    try:
        flags |= os.O_DIRECT | os.O_NOFOLLOW | os.O_CLOEXEC
        os.close(os.open(name, flags, 0o600, dir_fd=descriptor))
    except OSError as error:
        if error.errno == errno.EINVAL:
            return False
        raise
    finally:
        if not present:
            files.remove_durably(descriptor, name)
        os.close(descriptor)
    return True


def file_name(image: ids.ImageId) -> str:
    """Returns the name of an image's file.

    Raises:
        InvalidInput: It is no image id.
    """
    if not _IMAGE_ID.match(image):
        raise errors.InvalidInput(f"{image[:64]!r} is no image id")
    return image
