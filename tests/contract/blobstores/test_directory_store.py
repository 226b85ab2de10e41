"""What only the directory store promises: its files, and what else may lie in the folder."""

import fcntl
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mooring.adapters.blobstores import folder_lock, store_folder, system_errors
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
    uploads = tmp_path / store_folder.UPLOADS
    uploads.mkdir()
    for name, age in (("old", store_folder.ABANDONED_AFTER_SECONDS + 60), ("young", 60)):
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
    (temporary,) = (tmp_path / store_folder.UPLOADS).iterdir()
    os.link(temporary, tmp_path / "config")
    upload.commit()
    assert (tmp_path / "config").read_bytes() == b"mine"
    assert list((tmp_path / store_folder.UPLOADS).iterdir()) == []


COUNTER = """
import contextlib, os, sys
from pathlib import Path
from mooring.adapters.blobstores.directory import DirectoryBlobStore
from mooring.domain import errors

store = DirectoryBlobStore(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for turn in range(25):
    while True:
        version = store.head("count").version
        number = int(store.get("count", limit_bytes=100).split()[0])
        with contextlib.suppress(errors.PreconditionFailed):
            store.replace("count", b"%d %d-%d" % (number + 1, os.getpid(), turn), version=version)
            break
"""


def test_processes_that_replace_one_object_lose_nothing(tmp_path: Path) -> None:
    DirectoryBlobStore(tmp_path).put("count", b"0 start")
    counters = [
        subprocess.Popen(
            [sys.executable, "-c", COUNTER, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for _ in range(4)
    ]
    for counter in counters:
        assert counter.stdout is not None
        assert counter.stdout.readline() == b"ready\n"
    for counter in counters:
        counter.communicate(b"go\n")
        assert counter.returncode == 0
    assert (tmp_path / "count").read_bytes().split()[0] == b"100"


def test_a_lock_that_nobody_lets_go_of_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_lock, "_PATIENCE_SECONDS", 0.1)
    store = DirectoryBlobStore(tmp_path)
    store.put("lease", b"first")
    with (tmp_path / folder_lock.LOCK_FILE).open("w") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        info = store.head("lease")
        assert info is not None
        with pytest.raises(errors.Unreachable, match="does not let go"):
            store.replace("lease", b"second", version=info.version)
    store.replace("lease", b"second", version=info.version)


def test_without_locks_objects_are_made_and_deleted_but_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(file: int, operation: int) -> None:
        raise OSError(37, os.strerror(37))

    monkeypatch.setattr(fcntl, "flock", flock)
    store = DirectoryBlobStore(tmp_path)
    store.put("lease", b"first")
    info = store.head("lease")
    assert info is not None
    with pytest.raises(errors.Unsupported):
        store.replace("lease", b"second", version=info.version)
    assert not store.conditional_writes()
    store.delete("lease")
    assert list(store.list("")) == []


@pytest.mark.parametrize(
    ("mount", "common"),
    [
        ("36 35 8:1 / / rw - ext4 /dev/sda1 rw", True),
        ("36 35 0:40 / /tmp rw shared:1 - tmpfs tmpfs rw", True),
        ("36 35 0:50 / /n rw - nfs4 nas:/x rw,vers=4.2,hard,local_lock=none,addr=10.0.0.1", True),
        ("36 35 0:50 / /n rw - nfs nas:/x rw,vers=3,hard,nolock,local_lock=all", False),
        ("36 35 0:50 / /n rw - nfs nas:/x rw,vers=3,hard,local_lock=flock", False),
        ("36 35 0:51 / /s rw - cifs //nas/x rw,vers=3.1.1", False),
        ("36 35 0:52 / /f rw - fuse.sshfs me@nas:/x rw", False),
    ],
)
def test_whether_locks_reach_other_machines(mount: str, common: bool) -> None:
    assert folder_lock.locks_are_common(mount) is common


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
    error = system_errors.translate(OSError(number, os.strerror(number)), "cannot write x in /y")
    assert type(error) is expected
    assert os.strerror(number) in str(error)
