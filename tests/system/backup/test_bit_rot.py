"""A disk that loses a bit below a live image: found, said, held, mended, trusted again."""

import json
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mooring.adapters import registry
from mooring.adapters.host.change_lists import FILE, ChangeLists
from mooring.domain import ids, volumes
from mooring.volumes.local.staging import Access
from support import bit_rot, real_storage
from support.command_line import CommandLine
from support.mover_process import MoverFolder
from support.real_storage import MIB, Machine

pytestmark = pytest.mark.system
CHUNK = 64 << 10
SIZE = 24 * MIB
ROTTEN = 9 * MIB + 12345
VOLUME = ids.volume_id_for("one")
ALL = ("--scrub-period", "1s")
"""A second later everything is read again."""


class Shell(CommandLine):
    """The command line, an image on XFS that is tracked, and the disk below."""

    def __init__(self, folder: Path, disk: Path) -> None:
        super().__init__(folder)
        self.disk = disk
        self.image = folder / "image"
        self.image.write_bytes(random.Random(1).randbytes(SIZE))

    def back_up(self, name: str, *words: str, code: int = 0) -> dict[str, Any]:
        if words == ALL:
            time.sleep(1)
        tracked = ("--track", self.folder / "track", "--id", name, "-o", "json")
        done = self.run("backup", self.image, *tracked, *words)
        assert done.returncode == code, done.stderr
        self.said = done.stderr
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def write(self, offset: int, content: bytes) -> None:
        with self.image.open("r+b") as file:
            os.pwrite(file.fileno(), content, offset)
            os.fsync(file.fileno())

    def restored(self, backup_id: str) -> bytes:
        target = self.folder / "restored"
        self.json("restore", backup_id, target, "--force", "--verify")
        return target.read_bytes()


@pytest.fixture
def shell() -> Iterator[Shell]:
    with real_storage.scratch() as scratch, real_storage.mounted(scratch, "xfs") as point:
        yield Shell(point, scratch / "xfs.img")


def test_a_flipped_bit_is_found_held_mended_and_then_trusted_again(shell: Shell) -> None:
    sound = shell.image.read_bytes()
    shell.back_up("bk-1")
    assert shell.back_up("bk-2", *ALL)["suspect"] is None
    shell.write(3 * MIB, b"somebody wrote this")
    bit_rot.flip_bit(shell.image, ROTTEN, shell.disk)

    found = shell.back_up("bk-3", *ALL, code=8)
    assert found["bytesRead"] == 2 * CHUNK  # what was written, and what is suspect
    (place,) = found["suspect"]["places"]
    assert (place["offsetBytes"], place["lengthBytes"], place["good"]) == (ROTTEN, 1, "bk-2")
    for part in (str(ROTTEN), "bk-2", f"file:{shell.image}", "try: mooring repair-block"):
        assert part in shell.said
    assert shell.restored("bk-3") == shell.image.read_bytes()
    assert shell.restored("bk-2") == sound

    verdicts = shell.json("repo", "prune", "--keep-last", "1", "--dry-run")["retention"]
    kept = {one["backupId"]: one for one in verdicts if one["keep"]}
    assert set(kept) == {"bk-2", "bk-3"}
    assert "held, to mend Suspect backup bk-3 from" in kept["bk-2"]["reasons"]

    full = shell.back_up("bk-4", "--scrub-period", "0", code=8)
    assert full["bytesRead"] + full["bytesScrubbed"] >= SIZE - CHUNK
    assert "tracking did not say" in "".join(full["notes"])
    # That passed, so the next one reads what changed; the place is not forgotten.
    cheap = shell.back_up("bk-5", "--scrub-period", "0", code=8)
    assert (cheap["bytesRead"], cheap["bytesScrubbed"]) == (0, 0)

    before = shell.image.read_bytes()
    assert before != sound
    (planned,) = shell.json("repair-block", "bk-5", shell.image, "--dry-run")
    assert planned["state"] == "can be mended"
    assert shell.image.read_bytes() == before
    (mended,) = shell.json("repair-block", "bk-5", shell.image, "--offset", str(ROTTEN))
    assert (mended["state"], mended["good"]) == ("mended", "bk-2")
    expected = bytearray(sound)
    expected[3 * MIB : 3 * MIB + 19] = b"somebody wrote this"
    assert shell.image.read_bytes() == expected
    assert shell.json("repair-block", "bk-5", shell.image)[0]["state"] == "sound already"

    trusted = shell.back_up("bk-6")
    assert trusted["suspect"] is None
    assert trusted["bytesRead"] == CHUNK
    assert trusted["bytesScrubbed"] <= 2 * MIB
    assert shell.restored("bk-6") == expected


def test_what_was_written_to_since_or_is_in_use_is_not_mended(shell: Shell) -> None:
    shell.back_up("bk-1")
    code, said = shell.fails("repair-block", "bk-1", shell.image)
    assert (code, "not Suspect" in said) == (5, True)
    bit_rot.flip_bit(shell.image, ROTTEN, shell.disk)
    shell.back_up("bk-2", *ALL, code=8)
    code, said = shell.fails("repair-block", "bk-2", shell.image, "--offset", "1")
    assert (code, f"they begin at {ROTTEN}" in said) == (2, True)

    device = registry.kernel_host().loops.attach(
        shell.image, sector_size_bytes=4096, read_only=False
    )
    try:
        code, said = shell.fails("repair-block", "bk-2", shell.image)
        assert (code, f"attached to {device.path}" in said) == (5, True)
    finally:
        registry.kernel_host().loops.detach(device.path, shell.image)

    shell.write(ROTTEN // CHUNK * CHUNK, b"beside it")
    rotten = shell.image.read_bytes()
    for backup_id in ("bk-2", "bk-3"):
        if backup_id == "bk-3":
            shell.back_up("bk-3", code=8)
        code, said = shell.fails("repair-block", backup_id, shell.image)
        assert (code, "--overwrite-changed" in said) == (5, True)
        assert shell.image.read_bytes() == rotten
    (done,) = shell.json("repair-block", "bk-3", shell.image, "--overwrite-changed")
    assert done["state"] == "mended"
    changed = [
        at for at, (a, b) in enumerate(zip(rotten, shell.image.read_bytes(), strict=True)) if a != b
    ]
    assert changed == [ROTTEN]
    assert shell.back_up("bk-4")["suspect"] is None


def test_somebody_who_looked_may_take_it_as_it_is(shell: Shell) -> None:
    shell.back_up("bk-1")
    bit_rot.flip_bit(shell.image, ROTTEN, shell.disk)
    shell.back_up("bk-2", *ALL, code=8)
    assert [row.get("problem", "")[:8] for row in shell.json("backups")] == ["", "Suspect:"]
    shell.back_up("bk-3", "--accept-suspect")
    assert shell.back_up("bk-4")["bytesRead"] == 0
    verdicts = shell.json("repo", "prune", "--keep-last", "1", "--drop-suspect", "--dry-run")[
        "retention"
    ]
    assert {one["backupId"] for one in verdicts if one["keep"]} == {"bk-4"}


class Node:
    """A node with a volume that a pod writes to, and movers that back it up."""

    def __init__(self, folder: Path) -> None:
        self.machine = Machine(folder / "node")
        (folder / "movers").mkdir()
        self.movers = MoverFolder(folder / "movers")
        self.repository_id = self.movers.run("probe", repository={"initialize": True})[
            "repositoryId"
        ]
        self.shell = CommandLine(folder / "movers")
        self.lists = ChangeLists(self.machine.host.paths, self.machine.node.changes.since_base)
        self.machine.node.create_volume(real_storage.spec("one", 200 * MIB))
        self.image = self.machine.image(VOLUME)

    def stage(self) -> Path:
        staging = self.machine.staging("one")
        self.machine.node.publisher.stage(VOLUME, staging, Access())
        return Path(staging)

    def unstage(self) -> None:
        self.machine.node.publisher.unstage(VOLUME, self.machine.staging("one"))

    def back_up(self, name: str, scrub_period_seconds: int = 30 * 86400) -> dict[str, Any]:
        """What the operator, the kubelet and a mover do between them; the snapshot is kept."""
        snapshot_id = ids.snapshot_id_for(name, VOLUME)
        self.machine.node.create_snapshot(snapshot_id, name, freeze_timeout_seconds=5)
        listed, image = self.machine.target(name), self.machine.image(snapshot_id)
        self.lists.publish(snapshot_id, listed)
        device = self.machine.host.loops.attach(image, sector_size_bytes=4096, read_only=True)
        try:
            result = self.movers.run(
                "backup",
                device=str(device.path),
                backupId=name,
                volume={"uid": VOLUME},
                changes=str(Path(listed) / FILE),
                scrubPeriodSeconds=scrub_period_seconds,
            )
        finally:
            self.machine.host.loops.detach(device.path, image)
            self.lists.unpublish(listed)
        message = (self.movers.folder / "termination-log").read_text()
        assert json.loads(message)["suspect"] == result["suspect"], "the operator reads this"
        self.machine.node.keep_base(snapshot_id, volumes.BackupBase(self.repository_id, name))
        return result


@pytest.fixture
def node() -> Iterator[Node]:
    with real_storage.scratch() as folder:
        node = Node(folder)
        yield node
        node.unstage()
        node.machine.stop()


def test_a_volume_of_a_pool_that_a_pod_uses_loses_a_bit_and_gets_it_back(node: Node) -> None:
    dice = random.Random(2)
    precious = dice.randbytes(8 * MIB)
    staged = node.stage()
    real_storage.write_synced(staged / "precious", precious)
    node.back_up("bk-1")
    real_storage.write_synced(staged / "other", dice.randbytes(MIB))
    rotten = node.image.read_bytes().index(precious[5 * MIB : 5 * MIB + 64]) + 7
    bit_rot.flip_bit(node.image, rotten, next(node.machine.folder.rglob("pool.img")))

    time.sleep(1)
    found = node.back_up("bk-2", scrub_period_seconds=1)
    assert found["bytesRead"] < 16 * MIB
    (place,) = found["suspect"]["places"]
    assert (place["offsetBytes"], place["lengthBytes"], place["good"]) == (rotten, 1, "bk-1")

    real_storage.write_synced(staged / "later", dice.randbytes(MIB))
    full = node.back_up("bk-3")
    assert full["bytesRead"] + full["bytesScrubbed"] >= 199 * MIB
    assert full["suspect"]["places"] == found["suspect"]["places"]
    assert node.back_up("bk-4")["bytesScrubbed"] <= 2 * MIB  # it passed

    code, said = node.shell.fails("repair-block", "bk-4", node.image)
    assert (code, "take the volume from its pods" in said) == (5, True)
    node.unstage()
    (mended,) = node.shell.json("repair-block", "bk-4", node.image)
    assert (mended["state"], mended["good"]) == ("mended", "bk-1")
    assert (node.stage() / "precious").read_bytes() == precious

    trusted = node.back_up("bk-5")
    assert trusted["suspect"] is None
    assert trusted["bytesScrubbed"] <= 2 * MIB
    assert trusted["notes"][0] == "only what changed since backup bk-4 is read"
    target = node.movers.folder / "restored"
    target.write_bytes(b"")
    node.movers.run("restore", device=str(target), backupId="bk-5", verify=True)
    assert target.read_bytes().count(precious[5 * MIB : 5 * MIB + 64]) == 1
