"""A volume's backups one after the other, as a cluster makes them: each reads what changed."""

import os
import random
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from mooring.adapters.host.change_lists import FILE, ChangeLists
from mooring.domain import errors, ids, volumes
from mooring.domain.extents import ImageRanges
from mooring.planning import change_lists
from support import real_storage
from support.image_changes import mutate
from support.mover_process import MoverFolder
from support.real_storage import MIB, Machine

pytestmark = pytest.mark.system
SIZE = 64 * MIB
VOLUME = ids.volume_id_for("one")


class Site:
    """A node with a volume, and a repository for movers."""

    def __init__(self, folder: Path) -> None:
        self.machine = Machine(folder / "node")
        self.movers = MoverFolder(_made(folder / "movers"))
        self.probe = self.movers.run("probe", repository={"initialize": True})
        self.lists = ChangeLists(self.machine.host.paths, self._since_base)
        spec = real_storage.spec("one", SIZE, None)
        self.machine.node.create_volume(spec)
        self.image = self.machine.image(VOLUME)

    def _since_base(
        self, snapshot_id: ids.SnapshotId
    ) -> AbstractContextManager[tuple[change_lists.Head, ImageRanges]]:
        return self.machine.node.changes.since_base(snapshot_id)  # also after a restart

    def snapshot(self, name: str) -> ids.SnapshotId:
        snapshot_id = ids.snapshot_id_for(name, VOLUME)
        self.machine.node.create_snapshot(snapshot_id, name, freeze_timeout_seconds=5)
        return snapshot_id

    def back_up(self, snapshot_id: ids.SnapshotId, name: str) -> dict[str, Any]:
        """What the operator, the kubelet and a mover do between them."""
        folder = self.machine.target(name)
        self.lists.publish(snapshot_id, folder)
        self.lists.publish(snapshot_id, folder)  # the kubelet asks again
        result = self.movers.run(
            "backup",
            device=str(self.machine.image(snapshot_id)),
            backupId=name,
            volume={"uid": VOLUME},
            changes=str(Path(folder) / FILE),
        )
        self.lists.unpublish(folder)
        self.lists.unpublish(folder)
        assert not Path(folder).exists()
        return result

    def keep(self, snapshot_id: ids.SnapshotId, name: str) -> None:
        base = volumes.BackupBase(self.probe["repositoryId"], name)
        self.machine.node.keep_base(snapshot_id, base)

    def restored(self, name: str) -> bytes:
        target = self.movers.folder / "restored"
        target.write_bytes(b"")
        self.movers.run("restore", device=str(target), backupId=name, verify=True)
        return target.read_bytes()


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.fixture
def site() -> Iterator[Site]:
    with real_storage.scratch() as folder:
        site = Site(folder)
        yield site
        site.machine.stop()


def test_each_backup_reads_what_changed_since_the_one_before(site: Site) -> None:
    dice, contents = random.Random(31), {}
    site.image.write_bytes(dice.randbytes(16 * MIB))
    os.truncate(site.image, SIZE)
    for number in range(5):
        name = f"bk-{number}"
        snapshot_id = site.snapshot(name)
        contents[name] = site.machine.image(snapshot_id).read_bytes()
        result = site.back_up(snapshot_id, name)
        if number == 0:
            assert "nothing is kept" in result["notes"][0]
        else:
            assert result["notes"] == [f"only what changed since backup bk-{number - 1} is read"]
            assert result["parent"] == f"bk-{number - 1}"
            assert result["bytesRead"] < SIZE // 2
        site.keep(snapshot_id, name)
        assert [one.snapshot_id for one in site.machine.node.list_snapshots()] == [snapshot_id]
        if number == 2:
            site.machine.restart()
        mutate(site.image, dice, grows=False)
    for name, content in contents.items():
        assert site.restored(name) == content


def test_a_volume_that_grew_and_one_that_nobody_wrote_to(site: Site) -> None:
    content = random.Random(32).randbytes(4 * MIB)
    with site.image.open("r+b") as file:
        file.write(content)
    first = site.snapshot("bk-1")
    site.back_up(first, "bk-1")
    site.keep(first, "bk-1")
    second = site.snapshot("bk-2")
    assert site.back_up(second, "bk-2")["bytesRead"] == 0
    site.keep(second, "bk-2")
    site.machine.node.expand_volume(VOLUME, 2 * SIZE)
    third = site.snapshot("bk-3")
    result = site.back_up(third, "bk-3")
    assert result["parent"] == "bk-2"
    assert result["bytesSent"] == 0
    assert site.restored("bk-3") == content + bytes(2 * SIZE - len(content))


def test_what_was_kept_for_another_repository_or_is_gone_reads_everything(site: Site) -> None:
    with site.image.open("r+b") as file:
        file.write(random.Random(33).randbytes(4 * MIB))
    first = site.snapshot("bk-1")
    site.back_up(first, "bk-1")
    site.machine.node.keep_base(first, volumes.BackupBase("0" * 32, "bk-1"))
    second = site.snapshot("bk-2")
    result = site.back_up(second, "bk-2")
    assert "in repository 000" in result["notes"][0]
    assert result["bytesRead"] >= 4 * MIB
    site.keep(second, "bk-2")
    site.movers.run("forget", backupId="bk-2")
    third = site.snapshot("bk-3")
    result = site.back_up(third, "bk-3")
    assert "bk-2, since which the changes are known, is there no more" in result["notes"][0]
    assert site.restored("bk-3") == site.machine.image(third).read_bytes()


def test_a_target_with_files_of_somebody_is_left_alone(site: Site) -> None:
    snapshot_id = site.snapshot("bk-1")
    target = Path(site.machine.target("strange"))
    target.mkdir(parents=True)
    (target / "theirs").write_text("precious")
    with pytest.raises(errors.PreconditionFailed):
        site.lists.publish(snapshot_id, str(target))
    with pytest.raises(errors.PreconditionFailed):
        site.lists.unpublish(str(target))
    assert (target / "theirs").read_text() == "precious"
    assert sorted(path.name for path in target.iterdir()) == ["theirs"]
