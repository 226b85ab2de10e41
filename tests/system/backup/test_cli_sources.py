"""`mooring backup` of what people have: block devices, and images of a local pool."""

import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mooring.adapters import registry
from mooring.adapters.blobstores.directory import DirectoryBlobStore
from mooring.backup import mover, repository
from mooring.domain import backups, ids, volumes
from mooring.volumes.local.staging import Access
from support import real_storage
from support.command_line import CommandLine
from support.real_storage import MIB, Machine
from support.set_clock import SetClock

pytestmark = pytest.mark.system

SIZE = 320 * MIB
BLOCK = 64 << 10


@contextmanager
def attached(backing: Path, sector_bytes: int = 4096) -> Iterator[Path]:
    loops = registry.kernel_host().loops
    device = loops.attach(backing, sector_size_bytes=sector_bytes, read_only=False)
    try:
        yield device.path
    finally:
        loops.detach(device.path, backing)


@contextmanager
def mounted(device: Path, point: Path, *options: str) -> Iterator[Path]:
    point.mkdir(exist_ok=True)
    subprocess.run(["mount", *options, str(device), str(point)], check=True)
    try:
        yield point
    finally:
        subprocess.run(["umount", str(point)], check=True)


def disk(path: Path) -> Path:
    with path.open("wb") as file:
        file.truncate(SIZE)
    return path


def facts_of(shell: CommandLine, backup_id: str) -> backups.VolumeFacts:
    key = mover.read_key_file(shell.folder / "key")
    store = DirectoryBlobStore(shell.folder / "repo")
    opened = repository.open_repository(store, key, repository.Surroundings(SetClock()))
    return opened.manifest(backups.BackupId(backup_id)).volume


@pytest.mark.parametrize("sector_bytes", [512, 4096])
@pytest.mark.parametrize("filesystem", ["ext4", "xfs", "btrfs"])
def test_a_block_device_and_back(tmp_path: Path, filesystem: str, sector_bytes: int) -> None:
    shell, content = CommandLine(tmp_path), random.Random(1).randbytes(8 * MIB)
    with attached(disk(tmp_path / "disk"), sector_bytes) as device:
        subprocess.run([f"mkfs.{filesystem}", "-q", str(device)], check=True)
        with mounted(device, tmp_path / "point") as point:
            real_storage.write_synced(point / "file", content)
        first = shell.json("backup", device, "--id", "bk-1", "--volume", "data")
        assert (first["bytesTotal"], first["volumeUid"]) == (SIZE, "data")
        assert first["bytesRead"] == SIZE  # a device does not say where it is empty
        assert (first["filesystem"], first["existed"]) == (filesystem, False)
        with mounted(device, tmp_path / "point") as point:
            real_storage.write_synced(point / "later", b"later")
        second = shell.json("backup", device, "--id", "bk-2", "--volume", "data")
        assert second["parent"] == "bk-1"
        assert 0 < second["bytesSent"] < 4 * MIB
    found = facts_of(shell, "bk-2")
    with attached(disk(tmp_path / "other"), found.sector_size_bytes) as target:
        shell.json("restore", "bk-1", target, "--verify")
        with mounted(target, tmp_path / "point") as point:
            assert (point / "file").read_bytes() == content
            assert not (point / "later").exists()
        shell.json("restore", "bk-2", target, "--using", target, "--verify")
        with mounted(target, tmp_path / "point") as point:
            assert (point / "file").read_bytes() == content
            assert (point / "later").read_bytes() == b"later"


def test_sectors_are_those_that_the_filesystem_was_made_with(tmp_path: Path) -> None:
    shell, image = CommandLine(tmp_path), disk(tmp_path / "image")
    for sector_bytes, backup_id in ((512, "small"), (4096, "large")):
        size = ["-s", f"size={sector_bytes}"]
        subprocess.run(["mkfs.xfs", "-q", "-f", *size, str(image)], check=True)
        shell.json("backup", image, "--id", backup_id)
        assert facts_of(shell, backup_id).sector_size_bytes == sector_bytes


def test_a_device_in_use_may_be_read_and_not_filled(tmp_path: Path) -> None:
    shell = CommandLine(tmp_path)
    with attached(disk(tmp_path / "disk")) as device:
        subprocess.run(["mkfs.ext4", "-q", str(device)], check=True)
        with mounted(device, tmp_path / "point"):
            assert shell.json("backup", device, "--id", "bk-1")["filesystem"] == "ext4"
            code, said = shell.fails("restore", "bk-1", device)
            assert (code, "mounted or in use" in said) == (5, True)


def test_an_image_of_a_local_pool_and_back(tmp_path: Path) -> None:
    shell, volume_id = CommandLine(tmp_path), ids.volume_id_for("one")
    content = random.Random(2).randbytes(8 * MIB)
    with real_storage.scratch() as folder:
        machine = Machine(folder / "node")
        machine.node.create_volume(real_storage.spec("one", 200 * MIB))
        image, staging = machine.image(volume_id), machine.staging("one")
        machine.node.publisher.stage(volume_id, staging, Access())
        real_storage.write_synced(Path(staging) / "file", content)
        machine.node.publisher.unstage(volume_id, staging)
        track = image.parent.parent / "track"  # on the pool: its images share blocks there
        words = ("backup", image, "--track", track, "--volume", volume_id)
        first = shell.json(*words, "--id", "bk-1")
        assert (first["bytesTotal"], first["filesystem"]) == (200 * MIB, "ext4")
        machine.node.publisher.stage(volume_id, staging, Access())
        real_storage.write_synced(Path(staging) / "later", os.urandom(BLOCK))
        second = shell.json(*words, "--id", "bk-2")  # while a pod uses it: a clone is read
        assert second["parent"] == "bk-1"
        assert 0 < second["bytesRead"] < 16 * MIB
        machine.node.publisher.unstage(volume_id, staging)

        shell.json("restore", "bk-1", tmp_path / "again", "--using", image, "--verify")
        shell.json("restore", "bk-2", image, "--force", "--verify")
        machine.node.publisher.stage(volume_id, staging, Access())
        assert (Path(staging) / "file").read_bytes() == content
        assert (Path(staging) / "later").stat().st_size == BLOCK
        assert machine.node.list_volumes()[0].record.state is volumes.VolumeState.READY
        machine.node.publisher.unstage(volume_id, staging)
        for left in track.glob("*"):
            left.unlink()
        track.rmdir()
        machine.stop()
