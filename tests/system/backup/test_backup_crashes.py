"""A mover that is killed anywhere: no partial backup is seen, and a retry ends right."""

import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mooring.adapters.blobstores.directory import DirectoryBlobStore
from mooring.backup import inspection, progress, repository
from mooring.backup.format import slots
from support.mover_process import MoverFolder
from support.set_clock import SetClock

pytestmark = pytest.mark.system

SIZE_BYTES = 256 << 20
DATA_BYTES = 96 << 20
NOTHING_FOUND = 2  # by blkid


@pytest.fixture
def movers(tmp_path: Path) -> MoverFolder:
    folder = MoverFolder(tmp_path)
    folder.run("probe", repository={"initialize": True})
    (tmp_path / "out").touch()
    return folder


def make_image(path: Path, seed: int) -> None:
    dice = random.Random(seed)
    with path.open("wb") as file:
        file.truncate(SIZE_BYTES)
        for piece in range(DATA_BYTES >> 20):
            file.seek(piece * (SIZE_BYTES * (1 << 20) // DATA_BYTES) // 65536 * 65536)
            file.write(dice.randbytes(1 << 20))


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Path]:
    """A block device over a file that is full of something else."""
    backing = tmp_path / "backing"
    with backing.open("wb") as file:
        for _ in range(SIZE_BYTES >> 20):
            file.write(b"old data" * (1 << 17))
    command = ["losetup", "--find", "--show", str(backing)]
    device = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    try:
        yield Path(device)
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def kill_at_line(process: "subprocess.Popen[str]", line: int) -> bool:
    """Kills a mover once it has printed so many lines; tells whether that was before its end."""
    assert process.stdout is not None
    read = 0
    while read < line and process.stdout.readline():
        read += 1
    process.kill()
    process.communicate(timeout=60)
    return process.returncode == -signal.SIGKILL


def open_repository(movers: MoverFolder) -> repository.Repository:
    return repository.open_repository(
        DirectoryBlobStore(movers.repository),
        slots.Unlock(secret=movers.key_file.read_bytes()),
        repository.Surroundings(SetClock()),
    )


def same(one: Path, other: Path) -> bool:
    return subprocess.run(["cmp", str(one), str(other)], check=False).returncode == 0


def test_a_killed_backup_is_never_seen_and_its_retry_is_whole(
    movers: MoverFolder, tmp_path: Path
) -> None:
    image = tmp_path / "image"
    make_image(image, 1)
    dice = random.Random(7)
    spec = {"device": str(image), "backupId": "bk-1", "volume": {"uid": "volume-1"}}
    lines = [5, *(dice.randrange(10, SIZE_BYTES // (2 << 20)) for _ in range(6))]
    for line in lines:
        process = movers.start("backup", progressIntervalSeconds=0, **spec)
        killed = kill_at_line(process, line)
        opened = open_repository(movers)
        report = inspection.check_repository(opened, progress.Watch(), full=True)
        assert report.healthy  # whatever is seen is whole
        assert killed or line > 5
        if line == 5:
            assert opened.backup_ids() == []  # the manifest is the last write
    result = movers.run("backup", **spec)
    assert result["outcome"] == "Succeeded"
    report = inspection.check_repository(open_repository(movers), progress.Watch(), full=True)
    assert (report.backups, report.problems) == (1, [])
    movers.run("restore", device=str(tmp_path / "out"), backupId="bk-1", verify=True)
    assert same(image, tmp_path / "out")


def test_a_killed_restore_is_repeated_and_byte_identical(
    movers: MoverFolder, tmp_path: Path, loop: Path
) -> None:
    image = tmp_path / "image"
    make_image(image, 2)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-E", "nodiscard", str(image)], check=True)
    subprocess.run(["mkfs.btrfs", "-q", "-f", "-K", str(loop)], check=True)  # of before
    movers.run("backup", device=str(image), backupId="bk-1", volume={"uid": "volume-1"})
    for line in (1, 4, 9, 15, 20):
        (tmp_path / "termination-log").unlink(missing_ok=True)
        process = movers.start(
            "restore", progressIntervalSeconds=0, device=str(loop), backupId="bk-1"
        )
        assert kill_at_line(process, line)
        assert not (tmp_path / "termination-log").exists()
        assert not same(image, loop)
        look = subprocess.run(["blkid", "-p", str(loop)], check=False, capture_output=True)
        # The first kill may come before the first write.
        assert look.returncode == NOTHING_FOUND or (line == 1 and b"btrfs" in look.stdout)
    result = movers.run("restore", device=str(loop), backupId="bk-1", verify=True)
    assert result["verified"]
    assert same(image, loop)


def test_a_terminated_mover_says_so(movers: MoverFolder, tmp_path: Path) -> None:
    image = tmp_path / "image"
    make_image(image, 3)
    spec = {"device": str(image), "backupId": "bk-1", "volume": {"uid": "volume-1"}}
    process = movers.start("backup", progressIntervalSeconds=0, **spec)
    assert process.stdout is not None
    process.stdout.readline()  # it is under way
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 12
    assert '"reason": "Cancelled"' in (tmp_path / "termination-log").read_text()
    assert open_repository(movers).backup_ids() == []


def test_a_restore_over_old_data_clears_what_is_zero(
    movers: MoverFolder, tmp_path: Path, loop: Path
) -> None:
    image = tmp_path / "small"
    image.write_bytes(bytes(1 << 20) + b"x" * (1 << 20) + bytes(3 << 20))
    movers.run("backup", device=str(image), backupId="bk-1", volume={"uid": "volume-1"})
    movers.run("restore", device=str(loop), backupId="bk-1")
    with loop.open("rb") as file:
        assert file.read(5 << 20) == image.read_bytes()
        rest = file.read()
    assert rest == bytes(SIZE_BYTES - (5 << 20))


def test_a_mounted_device_is_not_overwritten(
    movers: MoverFolder, tmp_path: Path, loop: Path
) -> None:
    image = tmp_path / "small"
    image.write_bytes(b"x" * (1 << 20))
    movers.run("backup", device=str(image), backupId="bk-1", volume={"uid": "volume-1"})
    subprocess.run(["mkfs.ext4", "-q", "-F", str(loop)], check=True)
    mountpoint = tmp_path / "mnt"
    mountpoint.mkdir()
    subprocess.run(["mount", str(loop), str(mountpoint)], check=True)
    try:
        code, result = movers.attempt("restore", device=str(loop), backupId="bk-1")
    finally:
        subprocess.run(["umount", str(mountpoint)], check=True)
    assert (code, result["reason"]) == (5, "InUse")
    subprocess.run(["e2fsck", "-fn", str(loop)], check=True, capture_output=True)


def test_a_device_that_is_too_small_is_not_touched(
    movers: MoverFolder, tmp_path: Path, loop: Path
) -> None:
    image = tmp_path / "large"
    with image.open("wb") as file:
        file.truncate(SIZE_BYTES + 4096)
    movers.run("backup", device=str(image), backupId="bk-1", volume={"uid": "volume-1"})
    code, result = movers.attempt("restore", device=str(loop), backupId="bk-1")
    assert (code, result["reason"]) == (2, "SizeOutOfRange")
    with loop.open("rb") as file:
        assert file.read(8) == b"old data"


@pytest.fixture
def small_filesystem(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "tmpfs"
    folder.mkdir()
    options = "size=24m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_read_only_repository_is_told(movers: MoverFolder, small_filesystem: Path) -> None:
    where = {"path": str(small_filesystem), "initialize": True}
    movers.run("probe", repository=where)
    subprocess.run(["mount", "-o", "remount,ro", str(small_filesystem)], check=True)
    code, result = movers.attempt("probe", repository=where)
    assert (code, result["reason"]) == (6, "ReadOnly")
    assert "Read-only file system" in result["message"]


def test_a_full_repository_is_told_and_keeps_what_it_has(
    movers: MoverFolder, small_filesystem: Path, tmp_path: Path
) -> None:
    where = {"path": str(small_filesystem), "initialize": True}
    movers.run("probe", repository=where)
    small, image = tmp_path / "small", tmp_path / "image"
    small.write_bytes(random.Random(1).randbytes(1 << 20))
    make_image(image, 4)
    movers.run(
        "backup", repository=where, device=str(small), backupId="bk-1", volume={"uid": "volume-1"}
    )
    code, result = movers.attempt(
        "backup", repository=where, device=str(image), backupId="bk-2", volume={"uid": "volume-2"}
    )
    assert (code, result["reason"]) == (7, "SpaceExhausted")
    assert not (small_filesystem / "manifests" / "bk-2").exists()
    movers.run("restore", repository=where, device=str(tmp_path / "out"), backupId="bk-1")
    assert (tmp_path / "out").read_bytes() == small.read_bytes()


def test_two_movers_of_one_backup_end_with_one(movers: MoverFolder, tmp_path: Path) -> None:
    image = tmp_path / "image"
    make_image(image, 5)
    spec = {"device": str(image), "backupId": "bk-1", "volume": {"uid": "volume-1"}}
    processes = [movers.start("backup", **spec)]
    time.sleep(0.2)
    processes.append(movers.start("backup", **spec))
    for process in processes:
        process.communicate(timeout=120)
    assert [process.returncode for process in processes] == [0, 0]
    movers.run("restore", device=str(tmp_path / "out"), backupId="bk-1", verify=True)
    assert same(image, tmp_path / "out")
