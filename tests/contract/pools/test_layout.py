"""Laying a part of an image out anew: what is given back, what is refused, what is left behind."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mooring.adapters.host import syscalls
from mooring.adapters.pools import layout
from mooring.domain import errors, ids
from support import real_storage
from support.real_storage import MIB

pytestmark = pytest.mark.system
IMAGE = ids.ImageId("vol-1")
PIECE = 256 << 10


@pytest.fixture
def folder() -> Iterator[Path]:
    with (
        real_storage.scratch() as scratch,
        real_storage.mounted(scratch, "xfs", 320 * MIB) as point,
    ):
        yield point


@pytest.fixture
def image(folder: Path) -> Path:
    path = folder / IMAGE
    path.write_bytes(os.urandom(4 * MIB))
    return path


@pytest.fixture
def extents(folder: Path) -> Iterator[layout.FolderExtents]:
    found = layout.of_folder(folder)
    assert found is not None
    yield found
    found.close()


def _physical(image: Path) -> list[tuple[int, int, int, int]]:
    with image.open("rb") as file:
        os.fsync(file.fileno())
        return syscalls.map_extents(file.fileno(), 0, 1 << 40, 1000)


def test_a_piece_gets_other_blocks_with_the_same_bytes(
    image: Path, extents: layout.FolderExtents
) -> None:
    content, before = image.read_bytes(), _physical(image)
    with extents.relayout(IMAGE, MIB, MIB) as place:
        place.copy(MIB, PIECE)
        place.settle()
        assert place.take_over(MIB, PIECE)
        assert any(one.shared for one in extents.window(IMAGE, 0, 4 * MIB))
        place.let_go(MIB, PIECE)
        assert not any(one.shared for one in extents.window(IMAGE, 0, 4 * MIB))
    assert image.read_bytes() == content
    assert _physical(image) != before
    assert [path.name for path in image.parent.iterdir()] == [IMAGE]


@pytest.mark.parametrize("when", ["copied", "settled"])
def test_what_was_written_to_meanwhile_keeps_what_was_written(
    image: Path, extents: layout.FolderExtents, when: str
) -> None:
    content = bytearray(image.read_bytes())
    with extents.relayout(IMAGE, 0, MIB) as place, image.open("r+b", buffering=0) as writer:
        place.copy(0, PIECE)
        if when == "settled":
            place.settle()
        os.pwrite(writer.fileno(), b"new", 12_288)
        os.fsync(writer.fileno())
        place.settle()
        before = _physical(image)
        assert not place.take_over(0, PIECE)
        assert _physical(image) == before
        assert place.take_over(16_384, PIECE - 16_384)
    content[12_288:12_291] = b"new"
    assert image.read_bytes() == content


def test_a_window_is_cut_at_its_ends_and_an_absent_image_is_named(
    image: Path, extents: layout.FolderExtents
) -> None:
    os.truncate(image, 8 * MIB)
    assert extents.count(IMAGE) == len(_physical(image))
    window = extents.window(IMAGE, MIB, 2 * MIB)
    assert window[0].offset_bytes == MIB
    assert window[-1].end_bytes == 3 * MIB
    assert extents.window(IMAGE, 5 * MIB, MIB) == []
    for act in (extents.count, lambda one: extents.window(one, 0, MIB)):
        with pytest.raises(errors.NotFound):
            act(ids.ImageId("vol-2"))


def test_a_full_pool_has_no_room_for_it(
    folder: Path, image: Path, extents: layout.FolderExtents
) -> None:
    status = os.statvfs(folder)
    with (folder / "filler").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, (status.f_bavail - 1000) * status.f_frsize)
    content = image.read_bytes()
    with pytest.raises(errors.SpaceExhausted), extents.relayout(IMAGE, 0, 64 * MIB):
        pytest.fail("it found room")
    assert image.read_bytes() == content


def test_a_filesystem_that_cannot_tell_has_no_extents() -> None:
    with real_storage.scratch() as scratch:
        assert layout.of_folder(scratch) is None
