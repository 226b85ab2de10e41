"""Single files out of backups of real filesystems, as a power cut would have left them."""

import os
import shutil
import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mooring.adapters import registry
from mooring.adapters.host import syscalls
from support import real_storage
from support.command_line import CommandLine
from support.looking_into import Mounting, nothing_left
from support.real_storage import MIB

pytestmark = pytest.mark.system

SIZE = 512 * MIB
BIG = os.urandom(40 * MIB)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with (
        real_storage.scratch() as scratch,
        real_storage.mounted(scratch, "xfs", 3072 * MIB) as point,
    ):
        yield point


def fill(point: Path) -> None:
    data = point / "data"
    data.mkdir()
    (data / "big").write_bytes(BIG)
    (data / "small").write_text("small")
    (data / "sub").mkdir(mode=0o751)
    (data / "sub/inner").write_text("inner")
    os.link(data / "small", data / "sub/again")
    (data / "passwd").symlink_to("/etc/passwd")
    (data / "up").symlink_to("../../../../../../etc")
    with (data / "sparse").open("wb") as file:
        file.truncate(100 * MIB)
        file.seek(50 * MIB)
        file.write(b"in the middle")
    (data / "setuid").write_text("#!/bin/sh\n")
    os.chown(data / "setuid", 1234, 4321)
    (data / "setuid").chmod(0o6755)
    os.setxattr(data / "small", "user.note", b"kept")
    os.mknod(data / "device", stat.S_IFBLK | 0o666, os.makedev(8, 0))
    os.mkfifo(data / "fifo")
    os.utime(data / "small", ns=(1_000_000_001, 2_000_000_002))
    (point / "shortcut").symlink_to("/data/sub")


@pytest.fixture(scope="module", params=["ext4", "xfs", "btrfs"])
def world(request: pytest.FixtureRequest, folder: Path) -> Iterator[CommandLine]:
    """A backup of a filesystem in use: what was synced is in its log, and not yet in its place."""
    inner = folder / f"world-{request.param}"
    inner.mkdir()
    shell = CommandLine(inner)
    with real_storage.mounted(inner, request.param, SIZE) as point:
        fill(point)
        os.sync()
        (point / "late").write_text("before")
        os.sync()
        late = os.open(point / "data/late", os.O_WRONLY | os.O_CREAT)
        os.write(late, b"written last")
        os.fsync(late)
        os.close(late)
        image = inner / "copy.img"
        with (inner / f"{request.param}.img").open("rb") as source, image.open("wb") as copy:
            syscalls.clone_file(source.fileno(), copy.fileno())
    shell.json("backup", image, "--id", "bk-1")
    yield shell
    shutil.rmtree(inner)


def test_a_folder_comes_out_as_it_was(world: CommandLine, tmp_path: Path) -> None:
    with nothing_left():
        done = world.json("extract", "bk-1", "/data", "--to", tmp_path)
    data = tmp_path / "data"
    assert (data / "big").read_bytes() == BIG
    assert (data / "late").read_text() == "written last"
    assert (data / "small").stat().st_mtime_ns == 2_000_000_002
    assert (data / "small").stat().st_ino == (data / "sub/again").stat().st_ino
    assert os.getxattr(data / "small", "user.note") == b"kept"
    assert (data / "passwd").readlink() == Path("/etc/passwd")
    assert stat.S_IMODE((data / "sub").stat().st_mode) == 0o751
    sparse = (data / "sparse").stat()
    assert (sparse.st_size, sparse.st_blocks * 512 < MIB) == (100 * MIB, True)
    setuid = (data / "setuid").stat()
    assert (setuid.st_uid, setuid.st_gid, stat.S_IMODE(setuid.st_mode)) == (1234, 4321, 0o755)
    assert not (data / "device").exists()
    assert not (data / "fifo").exists()
    assert {"data/device is no file, folder or link", "data/fifo is no file, folder or link"} < set(
        done["notes"]
    )
    assert any("set-user-id" in note for note in done["notes"])
    assert not list(tmp_path.glob("*.mooring-partial"))


def test_one_file_costs_what_it_is(world: CommandLine, tmp_path: Path) -> None:
    """Also through a link in the backup, which is resolved within it."""
    done = world.json("extract", "bk-1", "shortcut/inner", "/data/small", "--to", tmp_path)
    assert (tmp_path / "inner").read_text() == "inner"
    assert (tmp_path / "small").read_text() == "small"
    assert done["bytesRead"] < len(BIG) // 2


def test_what_is_refused_copies_nothing(world: CommandLine, tmp_path: Path) -> None:
    for path in ("/data/none", "/data/up/hostname", "/data/passwd/x", "/../etc/hostname"):
        code, words = world.fails("extract", "bk-1", "/data/small", path, "--to", tmp_path)
        assert (code, "in the backup" in words) == (3, True), (path, words)
        assert "try: mooring mount" in words
    (tmp_path / "small").write_text("precious")
    code, words = world.fails("extract", "bk-1", "/data/small", "--to", tmp_path)
    assert (code, "exists" in words) == (4, True)
    assert world.fails("extract", "bk-1", "/", "--to", tmp_path)[0] == 2
    assert world.fails("extract", "bk-1", "/data/small", "--to", tmp_path / "none")[0] == 3
    assert [path.name for path in tmp_path.iterdir()] == ["small"]
    assert (tmp_path / "small").read_text() == "precious"


def test_a_backup_is_a_folder_until_it_is_told(world: CommandLine, point: Path) -> None:
    with nothing_left():
        mounting = Mounting(world, point)
        (mount,) = (m for m in registry.kernel_host().mounts.table() if m.target == point)
        assert {"ro", "nosuid", "nodev", "noexec"} <= set(mount.options)
        assert (point / "data/big").read_bytes() == BIG
        assert (point / "data/late").read_text() == "written last"
        with pytest.raises(OSError, match="Read-only"):
            (point / "data/new").touch()
        code, words = world.fails("mount", "bk-1", point)
        assert (code, "empty" in words) == (5, True)
        with (point / "data/small").open() as held:
            mounting.process.send_signal(signal.SIGINT)
            assert mounting.process.stderr is not None
            assert "in use" in mounting.process.stderr.readline()
            assert held.read() == "small"
        assert mounting.end() == 0
    assert not point.is_mount()


def test_umount_ends_it_too(world: CommandLine, point: Path) -> None:
    with nothing_left():
        mounting = Mounting(world, point)
        syscalls.unmount(point)
        assert mounting.end() == 0


def test_a_kill_leaves_nothing(world: CommandLine, point: Path) -> None:
    for victim in ("server", "looker", "server"):
        with nothing_left():
            mounting = Mounting(world, point)
            held = (point / "data/big").open("rb")
            children = Path(f"/proc/{mounting.process.pid}/task/{mounting.process.pid}/children")
            (looker,) = children.read_text().split()
            if victim == "server":
                mounting.process.kill()
                assert mounting.end() == -9
            else:
                os.kill(int(looker), signal.SIGKILL)
                assert mounting.end() == 9
                syscalls.unmount_lazily(point)
            with held, pytest.raises(OSError, match=r"Input/output|not connected"):
                held.read()


def test_a_kill_of_everything_leaves_a_mount_that_umount_frees(
    world: CommandLine, point: Path
) -> None:
    with nothing_left():
        mounting = Mounting(world, point)
        children = Path(f"/proc/{mounting.process.pid}/task/{mounting.process.pid}/children")
        (looker,) = children.read_text().split()
        os.kill(int(looker), signal.SIGSTOP)
        mounting.process.kill()
        os.kill(int(looker), signal.SIGKILL)
        assert mounting.end() == -9
        code, words = world.fails("mount", "bk-1", point)
        assert (code, f"umount {point}" in words) == (5, True)
        syscalls.unmount(point)


def test_a_stopped_extraction_leaves_nothing(world: CommandLine, tmp_path: Path) -> None:
    with nothing_left():
        process = world.start("extract", "bk-1", "/data", "--to", tmp_path)
        while not list(tmp_path.iterdir()) and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(signal.SIGINT)
        _, words = process.communicate()
    assert process.returncode == 12, words
    assert "try: the same command again" in words
    assert not list(tmp_path.iterdir())


def test_a_killed_extraction_is_repeated(world: CommandLine, tmp_path: Path) -> None:
    for _ in range(3):
        with nothing_left():
            process = world.start("extract", "bk-1", "/data", "--to", tmp_path)
            while not list(tmp_path.iterdir()) and process.poll() is None:
                time.sleep(0.001)
            process.kill()
            process.communicate()
        assert not (tmp_path / "data").exists()
    world.json("extract", "bk-1", "/data", "--to", tmp_path)
    assert (tmp_path / "data/big").read_bytes() == BIG
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_damage_is_told_and_nothing_looks_ready(
    world: CommandLine, folder: Path, tmp_path: Path
) -> None:
    (manifest,) = (world.folder / "repo/manifests").iterdir()
    copy = folder / "damaged"
    shutil.copytree(world.folder, copy, ignore=shutil.ignore_patterns("*.img"))
    try:
        for pack in (copy / "repo/packs").rglob("*/*"):
            if pack.stat().st_size > MIB:
                pack.chmod(0o600)
                data = bytearray(pack.read_bytes())
                for start in range(5 * MIB, len(data), MIB // 2):
                    data[start] ^= 1
                pack.write_bytes(data)
        with nothing_left():
            done = world.run(
                "extract", manifest.name, "/data/big", "--to", tmp_path, "--repo", copy / "repo"
            )
        assert done.returncode == 8, done.stderr
        assert "try: mooring repo check" in done.stderr
        assert not list(tmp_path.iterdir())
    finally:
        shutil.rmtree(copy)


def test_a_backup_without_a_filesystem_says_so(folder: Path, tmp_path: Path) -> None:
    inner = folder / "raw"
    inner.mkdir()
    shell = CommandLine(inner)
    (inner / "image").write_bytes(os.urandom(MIB))
    shell.json("backup", inner / "image", "--id", "bk-1")
    code, words = shell.fails("extract", "bk-1", "/x", "--to", tmp_path)
    assert (code, "mooring restore" in words) == (5, True)
