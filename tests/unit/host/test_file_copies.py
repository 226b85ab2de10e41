"""Copies out of a folder that stands for a hostile filesystem."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mooring.adapters.host.images import file_copies
from mooring.domain import errors
from mooring.ports import images

Copy = Callable[..., images.Extracted]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "outside").write_text("secret")
    source = tmp_path / "source"
    source.mkdir()
    return source


@pytest.fixture
def target(tmp_path: Path) -> Path:
    target = tmp_path / "target"
    target.mkdir()
    return target


@pytest.fixture
def copy(source: Path, target: Path) -> Iterator[Copy]:
    root = os.open(source, os.O_RDONLY | os.O_DIRECTORY)

    def run(*paths: str, report: Callable[[int], None] = lambda _: None) -> images.Extracted:
        return file_copies.FileCopies(root, target, report).run(list(paths))

    yield run
    os.close(root)


def test_no_path_leads_out(source: Path, target: Path, copy: Copy) -> None:
    (source / "up").symlink_to("..")
    (source / "absolute").symlink_to(source.parent)
    (source / "proc").symlink_to("/proc/self/root")
    for path in (
        "../outside",
        "up/outside",
        "absolute/outside",
        "proc/etc/passwd",
        "up/../outside",
    ):
        with pytest.raises(errors.NotFound, match="in the backup"):
            copy(path)
    assert not list(target.iterdir())


def test_links_on_the_way_stay_inside(source: Path, target: Path, copy: Copy) -> None:
    (source / "real").mkdir()
    (source / "real/file").write_text("content")
    (source / "link").symlink_to("/real")
    copy("link/file")
    assert (target / "file").read_text() == "content"
    copy("link")
    assert (target / "link").is_symlink()


def test_links_inside_a_folder_are_copied_and_not_followed(
    source: Path, target: Path, copy: Copy
) -> None:
    (source / "a").mkdir()
    (source / "a/out").symlink_to(source.parent / "outside")
    (source / "a/folder").symlink_to(source.parent)
    copy("a")
    assert (target / "a/out").is_symlink()
    assert (target / "a/folder").is_symlink()


def test_what_was_there_is_never_touched(source: Path, target: Path, copy: Copy) -> None:
    (source / "file").write_text("new")
    (target / "file").symlink_to(target.parent / "outside")
    with pytest.raises(errors.AlreadyExists):
        copy("file")
    assert (target.parent / "outside").read_text() == "secret"


def test_a_failure_in_the_middle_leaves_no_name(source: Path, target: Path, copy: Copy) -> None:
    (source / "a").mkdir()
    (source / "a/one").write_bytes(b"x" * 100)
    (source / "a/two").write_bytes(b"x" * 100)

    def fail(copied: int) -> None:
        if copied > 100:
            raise OSError(errno.EIO, "broken")

    with pytest.raises(OSError, match="broken"):
        copy("a", report=fail)
    assert not list(target.iterdir())


def test_what_a_killed_one_left_is_replaced(source: Path, target: Path, copy: Copy) -> None:
    (source / "a").mkdir()
    (source / "a/one").write_text("one")
    left = target / f"a{file_copies.PARTIAL_SUFFIX}"
    left.mkdir()
    (left / "one").write_text("half")
    (left / "link").symlink_to(target.parent)
    copy("a")
    assert [path.name for path in target.iterdir()] == ["a"]
    assert (target / "a/one").read_text() == "one"
    assert (target.parent / "outside").read_text() == "secret"


def test_folders_without_end(source: Path, target: Path, copy: Copy) -> None:
    inner = os.open(source, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=inner)
        deeper = os.open("d", os.O_RDONLY, dir_fd=inner)
        os.close(inner)
        inner = deeper
    os.close(inner)
    with pytest.raises(errors.Unsupported, match="further inside"):
        copy("d")
    assert not list(target.iterdir())


def test_names_that_collide_or_are_none(source: Path, copy: Copy) -> None:
    (source / "a").mkdir()
    (source / "a/file").touch()
    (source / "file").touch()
    with pytest.raises(errors.InvalidInput, match="one by one"):
        copy("file", "a/file")
    for path in ("/", "", ".", "a/..", "//"):
        with pytest.raises(errors.InvalidInput, match="inside"):
            copy(path)
