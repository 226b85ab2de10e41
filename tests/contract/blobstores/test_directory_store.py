"""What only the directory store promises: its files, and what else may lie in the folder."""

import os
import stat
from pathlib import Path

import pytest

from mooring.adapters.blobstores import directory
from mooring.adapters.blobstores.directory import DirectoryBlobStore
from mooring.domain import errors


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.NotFound, match="nowhere"):
        DirectoryBlobStore(tmp_path / "nowhere")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(errors.NotFound):
        DirectoryBlobStore(tmp_path / "file")


def test_permission_bits_follow_the_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o2770)
    DirectoryBlobStore(tmp_path).put("packs/aa/one", b"x")
    assert stat.S_IMODE((tmp_path / "packs" / "aa").stat().st_mode) == 0o2770
    assert stat.S_IMODE((tmp_path / "packs" / "aa" / "one").stat().st_mode) == 0o660


def test_symbolic_links_lead_nowhere(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "packs").symlink_to(outside)
    (inside / "config").symlink_to(outside / "secret")
    store = DirectoryBlobStore(inside)
    with pytest.raises(errors.DataCorrupt):
        store.get("config", limit_bytes=100)
    with pytest.raises(errors.DataCorrupt):
        store.get("packs/secret", limit_bytes=100)
    with pytest.raises(errors.DataCorrupt):
        store.put("packs/new", b"x")
    assert list(store.list("")) == []
    assert sorted(path.name for path in outside.iterdir()) == ["secret"]


def test_foreign_files_are_not_listed(tmp_path: Path) -> None:
    store = DirectoryBlobStore(tmp_path)
    store.put("config", b"x")
    (tmp_path / ".hidden").touch()
    (tmp_path / "LOST+FOUND").mkdir()
    os.mkfifo(tmp_path / "fifo")
    assert [info.key for info in store.list("")] == ["config"]
    with pytest.raises(errors.NotFound):
        store.get("fifo", limit_bytes=1)


def test_leftovers_of_killed_writers_are_swept_when_old(tmp_path: Path) -> None:
    uploads = tmp_path / directory.UPLOADS
    uploads.mkdir()
    for name, age in (("old", directory.ABANDONED_AFTER_SECONDS + 60), ("young", 60)):
        (uploads / name).write_bytes(b"x")
        moment = (uploads / name).stat().st_mtime - age
        os.utime(uploads / name, (moment, moment))
    DirectoryBlobStore(tmp_path).put("config", b"x")
    assert [path.name for path in uploads.iterdir()] == ["young"]


def test_a_retried_link_that_had_worked_is_success(tmp_path: Path) -> None:
    # An NFS server links, its answer is lost, and the client's repeated request finds the file.
    store = DirectoryBlobStore(tmp_path)
    upload = store.upload("config")
    upload.write(b"mine")
    (temporary,) = (tmp_path / directory.UPLOADS).iterdir()
    os.link(temporary, tmp_path / "config")
    upload.commit()
    assert (tmp_path / "config").read_bytes() == b"mine"
    assert list((tmp_path / directory.UPLOADS).iterdir()) == []


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (28, errors.SpaceExhausted),
        (122, errors.SpaceExhausted),
        (30, errors.ReadOnly),
        (13, errors.ReadOnly),
        (2, errors.NotFound),
        (40, errors.DataCorrupt),
        (95, errors.Unsupported),
        (116, errors.Unreachable),
        (5, errors.Unreachable),
    ],
)
def test_system_errors_are_translated(number: int, expected: type[errors.MooringError]) -> None:
    error = directory.translate(OSError(number, os.strerror(number)), "cannot write x in /y")
    assert type(error) is expected
    assert os.strerror(number) in str(error)
