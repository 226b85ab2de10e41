"""The contract of `ports.pools.ImagePool`, over every backend that there is."""

import contextlib
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mooring.adapters.host import commands
from mooring.adapters.pools.directory import DirectoryPool
from mooring.adapters.pools.memory import MemoryPool
from mooring.adapters.pools.reflink import ReflinkPool
from mooring.domain import errors, ids
from mooring.ports.pools import ImagePool
from support import real_storage

MIB = 1 << 20
ONE = ids.ImageId("vol-1")
TWO = ids.ImageId("vol-2")


@dataclass(frozen=True)
class Backend:
    """A pool, and how a volume's user would touch its bytes."""

    pool: ImagePool
    write: Callable[[ids.ImageId, int, bytes], None]
    read: Callable[[ids.ImageId, int, int], bytes]
    folder: Path | None


def _of_files(pool: DirectoryPool | ReflinkPool, folder: Path) -> Backend:
    def write(image: ids.ImageId, offset_bytes: int, content: bytes) -> None:
        with pool.path(image).open("r+b") as file:
            file.seek(offset_bytes)
            file.write(content)

    def read(image: ids.ImageId, offset_bytes: int, length_bytes: int) -> bytes:
        with pool.path(image).open("rb") as file:
            file.seek(offset_bytes)
            return file.read(length_bytes)

    return Backend(pool, write, read, folder)


@pytest.fixture(scope="session")
def filesystems() -> Iterator[dict[str, Path]]:
    """Small real filesystems, each made when it is first asked for; a full one harms nobody."""
    with real_storage.scratch() as folder, contextlib.ExitStack() as stack:
        yield _Filesystems(folder, stack)


class _Filesystems(dict[str, Path]):
    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self._folder = folder
        self._stack = stack

    def __missing__(self, name: str) -> Path:
        self[name] = self._stack.enter_context(real_storage.mounted(self._folder, name))
        return self[name]


def _system(*names: str) -> list[Any]:
    return [pytest.param(name, marks=pytest.mark.system) for name in names]


@pytest.fixture(
    params=["memory", "directory", *_system("directory-ext4", "reflink-xfs", "reflink-btrfs")]
)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    kind, _, filesystem = request.param.partition("-")
    if kind == "memory":
        memory = MemoryPool(512 * MIB)
        yield Backend(memory, memory.write, memory.read, None)
        return
    parent = tmp_path
    if filesystem:
        parent = request.getfixturevalue("filesystems")[filesystem]
    folder = parent / f"images-{uuid.uuid4()}"
    pool = DirectoryPool(folder) if kind == "directory" else ReflinkPool(folder)
    yield _of_files(pool, folder)
    for image in pool.images():
        pool.remove(image)
    pool.close()


def _free_bytes(backend: Backend) -> int:
    """Free space once the filesystem has settled; btrfs counts when it commits."""
    if backend.folder is not None:
        commands.run(["sync", "-f", str(backend.folder)])
    return backend.pool.capacity().free_bytes


def _names(backend: Backend) -> set[str]:
    """Everything in the pool's folder, also what listings skip."""
    if backend.folder is None:
        return set(backend.pool.images())
    return {entry.name for entry in backend.folder.iterdir()}


@pytest.mark.parametrize("preallocate", [False, True], ids=["sparse", "preallocated"])
class TestBothKinds:
    def test_an_image_reads_as_zeros_and_has_its_size(
        self, backend: Backend, preallocate: bool
    ) -> None:
        backend.pool.allocate(ONE, 8 * MIB, preallocate=preallocate)
        usage = backend.pool.images()[ONE]
        assert usage.size_bytes == 8 * MIB
        assert usage.used_bytes >= 8 * MIB if preallocate else usage.used_bytes < MIB
        assert backend.read(ONE, 0, 8 * MIB) == bytes(8 * MIB)

    def test_allocating_again_keeps_what_was_written(
        self, backend: Backend, preallocate: bool
    ) -> None:
        backend.pool.allocate(ONE, MIB, preallocate=preallocate)
        backend.write(ONE, 4096, b"kept")
        backend.pool.allocate(ONE, MIB, preallocate=preallocate)
        assert backend.read(ONE, 4096, 4) == b"kept"
        with pytest.raises(errors.AlreadyExists):
            backend.pool.allocate(ONE, 2 * MIB, preallocate=preallocate)

    def test_a_copy_has_the_bytes_and_lives_its_own_life(
        self, backend: Backend, preallocate: bool
    ) -> None:
        backend.pool.allocate(ONE, 4 * MIB, preallocate=preallocate)
        backend.write(ONE, 0, b"first")
        backend.write(ONE, 3 * MIB, b"last")
        backend.pool.copy(ONE, TWO, 6 * MIB, preallocate=preallocate)
        backend.write(ONE, 0, b"after")
        backend.write(TWO, 3 * MIB, b"copy")
        assert backend.read(TWO, 0, 5) == b"first"
        assert backend.read(ONE, 3 * MIB, 4) == b"last"
        assert backend.read(TWO, 3 * MIB + 4, 3 * MIB - 4) == bytes(3 * MIB - 4)
        usage = backend.pool.images()[TWO]
        assert usage.size_bytes == 6 * MIB
        if preallocate:
            assert usage.used_bytes >= 6 * MIB

    def test_copying_again_changes_nothing(self, backend: Backend, preallocate: bool) -> None:
        backend.pool.allocate(ONE, MIB, preallocate=preallocate)
        backend.pool.copy(ONE, TWO, MIB, preallocate=preallocate)
        backend.write(ONE, 0, b"new")
        backend.pool.copy(ONE, TWO, MIB, preallocate=preallocate)
        assert backend.read(TWO, 0, 3) == bytes(3)

    def test_growing_adds_zeros_and_never_shrinks(
        self, backend: Backend, preallocate: bool
    ) -> None:
        backend.pool.allocate(ONE, MIB, preallocate=preallocate)
        backend.write(ONE, MIB - 4, b"edge")
        backend.pool.grow(ONE, 3 * MIB, preallocate=preallocate)
        backend.pool.grow(ONE, 2 * MIB, preallocate=preallocate)
        assert backend.pool.images()[ONE].size_bytes == 3 * MIB
        assert backend.read(ONE, MIB - 4, 4) == b"edge"
        assert backend.read(ONE, MIB, 2 * MIB) == bytes(2 * MIB)

    def test_a_renamed_image_takes_the_place_of_another(
        self, backend: Backend, preallocate: bool
    ) -> None:
        backend.pool.allocate(ONE, MIB, preallocate=preallocate)
        backend.pool.allocate(TWO, 2 * MIB, preallocate=preallocate)
        backend.write(TWO, 7, b"grown")
        backend.pool.rename(TWO, ONE)
        assert set(backend.pool.images()) == {ONE}
        assert backend.pool.images()[ONE].size_bytes == 2 * MIB
        assert backend.read(ONE, 7, 5) == b"grown"

    def test_removing_is_complete_and_repeatable(self, backend: Backend, preallocate: bool) -> None:
        backend.pool.allocate(ONE, MIB, preallocate=preallocate)
        backend.pool.remove(ONE)
        backend.pool.remove(ONE)
        assert not backend.pool.images()
        assert not _names(backend)


def test_what_is_absent_is_not_found(backend: Backend) -> None:
    for act in (
        lambda: backend.pool.copy(ONE, TWO, MIB, preallocate=False),
        lambda: backend.pool.grow(ONE, MIB, preallocate=False),
        lambda: backend.pool.path(ONE),
        lambda: backend.pool.rename(ONE, TWO),
    ):
        with pytest.raises(errors.NotFound):
            act()
    assert not _names(backend)


def test_a_copy_is_never_smaller_than_its_source(backend: Backend) -> None:
    backend.pool.allocate(ONE, 2 * MIB, preallocate=False)
    with pytest.raises(errors.SizeOutOfRange):
        backend.pool.copy(ONE, TWO, MIB, preallocate=False)
    assert set(backend.pool.images()) == {ONE}


@pytest.mark.parametrize(
    "backend",
    ["memory", *_system("directory-ext4", "reflink-xfs", "reflink-btrfs")],
    indirect=True,
)
def test_a_full_disk_leaves_nothing_behind(backend: Backend) -> None:
    too_much = backend.pool.capacity().free_bytes // MIB * MIB + 64 * MIB
    backend.pool.allocate(ONE, MIB, preallocate=False)
    backend.write(ONE, 0, b"kept")
    before = _names(backend)
    with pytest.raises(errors.SpaceExhausted):
        backend.pool.allocate(TWO, too_much, preallocate=True)
    with pytest.raises(errors.SpaceExhausted):
        backend.pool.copy(ONE, TWO, too_much, preallocate=True)
    with pytest.raises(errors.SpaceExhausted):
        backend.pool.grow(ONE, too_much, preallocate=True)
    assert _names(backend) == before
    assert backend.pool.images()[ONE].size_bytes == MIB
    assert backend.read(ONE, 0, 4) == b"kept"
    assert backend.pool.capacity().free_bytes >= too_much - 128 * MIB


def test_capacity_follows_what_is_allocated(backend: Backend) -> None:
    free_bytes = _free_bytes(backend)
    backend.pool.allocate(ONE, 64 * MIB, preallocate=True)
    assert free_bytes - _free_bytes(backend) >= 32 * MIB
    assert free_bytes < backend.pool.capacity().total_bytes or backend.folder is None


@pytest.mark.parametrize(
    "backend",
    ["directory", *_system("directory-ext4", "reflink-xfs", "reflink-btrfs")],
    indirect=True,
)
def test_a_half_made_image_is_no_image_and_is_made_anew(backend: Backend) -> None:
    assert backend.folder is not None
    (backend.folder / f".{ONE}.tmp").write_bytes(b"half")
    assert not backend.pool.images()
    backend.pool.allocate(ONE, MIB, preallocate=False)
    assert backend.read(ONE, 0, 4) == bytes(4)
    (backend.folder / f".{ONE}.tmp").write_bytes(b"half")
    backend.pool.remove(ONE)
    assert not _names(backend)


@pytest.mark.parametrize(
    "backend",
    ["directory", *_system("directory-ext4", "reflink-xfs", "reflink-btrfs")],
    indirect=True,
)
@pytest.mark.parametrize("name", ["../vol", "a/b", ".hidden", "", "-rf", "a\n", "A", "a" * 200])
def test_a_name_never_leads_out_of_the_pool(backend: Backend, name: str) -> None:
    for act in (
        lambda: backend.pool.allocate(ids.ImageId(name), MIB, preallocate=False),
        lambda: backend.pool.remove(ids.ImageId(name)),
        lambda: backend.pool.path(ids.ImageId(name)),
        lambda: backend.pool.rename(ids.ImageId(name), ONE),
        lambda: backend.pool.rename(ONE, ids.ImageId(name)),
    ):
        with pytest.raises(errors.InvalidInput):
            act()


def test_only_attachable_pools_have_paths(backend: Backend) -> None:
    backend.pool.allocate(ONE, MIB, preallocate=False)
    if backend.pool.properties.attachable:
        assert backend.pool.path(ONE).stat().st_size == MIB
    else:
        with pytest.raises(errors.Unsupported):
            backend.pool.path(ONE)


@pytest.mark.parametrize("backend", _system("reflink-xfs", "reflink-btrfs"), indirect=True)
def test_copies_share_blocks_unless_they_are_preallocated(backend: Backend) -> None:
    pool = backend.pool
    pool.allocate(ONE, 64 * MIB, preallocate=True)
    with pool.path(ONE).open("r+b", buffering=0) as file:
        file.write(b"\xa5" * (64 * MIB))
    free_bytes = _free_bytes(backend)
    pool.copy(ONE, TWO, 64 * MIB, preallocate=False)
    assert free_bytes - _free_bytes(backend) < 8 * MIB
    pool.copy(ONE, ids.ImageId("own"), 64 * MIB, preallocate=True)
    assert free_bytes - _free_bytes(backend) > 56 * MIB
    assert pool.path(ids.ImageId("own")).read_bytes() == pool.path(ONE).read_bytes()


def test_a_filesystem_that_cannot_share_is_refused(tmp_path: Path) -> None:
    folder = Path("/dev/shm") / tmp_path.name  # tmpfs never shares blocks
    try:
        with pytest.raises(errors.Unsupported, match="directory"):
            ReflinkPool(folder)
        assert not list(folder.iterdir())
    finally:
        folder.rmdir()
