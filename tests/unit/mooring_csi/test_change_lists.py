"""The list of changes as a mover's pod gets it: a file in a folder of its own, by CSI's calls."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from mooring.backup import change_files
from mooring.domain import ids, volumes
from mooring.domain.extents import Range
from support import csi_calls
from support.csi_calls import GIB, pb


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[csi_calls.Driver]:
    with csi_calls.serve(tmp_path) as driver:
        yield driver


def snapshot(driver: csi_calls.Driver, volume_id: str, name: str) -> ids.SnapshotId:
    request = pb.CreateSnapshotRequest(source_volume_id=volume_id, name=name)
    return ids.SnapshotId(driver.controller.CreateSnapshot(request).snapshot.snapshot_id)


def publish(driver: csi_calls.Driver, handle: str, target: Path) -> None:
    request = pb.NodePublishVolumeRequest(
        volume_id=handle,
        target_path=str(target),
        volume_capability=csi_calls.mount_capability(),
        readonly=True,
    )
    driver.node.NodeStageVolume(
        pb.NodeStageVolumeRequest(
            volume_id=handle,
            staging_target_path=str(target.parent / "staging"),
            volume_capability=csi_calls.mount_capability(),
        )
    )
    driver.node.NodePublishVolume(request)


def test_a_mover_gets_what_changed_since_the_last_backup(
    driver: csi_calls.Driver, tmp_path: Path
) -> None:
    volume_id = driver.controller.CreateVolume(csi_calls.create_request()).volume.volume_id
    first = snapshot(driver, volume_id, "first")
    target = tmp_path / "pods" / "uid" / "mount"
    target.parent.mkdir(parents=True)
    publish(driver, f"changes/{first}", target)
    assert change_files.read(target / "changes", GIB) == (
        None,
        "nothing is kept of an earlier backup",
    )
    driver.storage.keep_base(first, volumes.BackupBase("r" * 32, "bk-1"))
    driver.world.images.write(ids.ImageId(volume_id), 4096, b"new")
    second = snapshot(driver, volume_id, "second")
    publish(driver, f"changes/{second}", target)
    publish(driver, f"changes/{second}", target)
    changes, _ = change_files.read(target / "changes", GIB)
    assert changes is not None
    assert (changes.since, list(changes.ranges)) == ("bk-1", [Range(4096, 4096)])
    assert [path.name for path in target.iterdir()] == ["changes"]
    assert (target / "changes").stat().st_mode & 0o777 == 0o444
    for _ in range(2):
        driver.node.NodeUnpublishVolume(
            pb.NodeUnpublishVolumeRequest(volume_id=f"changes/{second}", target_path=str(target))
        )
    assert not target.exists()


def test_what_is_kept_is_no_snapshot_of_the_users(driver: csi_calls.Driver) -> None:
    volume_id = driver.controller.CreateVolume(csi_calls.create_request()).volume.volume_id
    first, second = (snapshot(driver, volume_id, name) for name in ("first", "second"))
    driver.storage.keep_base(first, volumes.BackupBase("r" * 32, "bk-1"))
    listed = driver.controller.ListSnapshots(pb.ListSnapshotsRequest()).entries
    assert [one.snapshot.snapshot_id for one in listed] == [second]
    driver.controller.DeleteSnapshot(pb.DeleteSnapshotRequest(snapshot_id=second))
    driver.controller.DeleteVolume(pb.DeleteVolumeRequest(volume_id=volume_id))
    assert driver.storage.list_snapshots() == []
    assert not driver.controller.ListVolumes(pb.ListVolumesRequest()).entries


@pytest.mark.parametrize(
    "handle", ["changes/", "changes/vol-1", "changes/../etc", "changes/snap-1"]
)
def test_a_handle_of_nothing_is_not_found(
    driver: csi_calls.Driver, tmp_path: Path, handle: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        publish(driver, handle, tmp_path / "a" / "b")
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    with contextlib.suppress(FileNotFoundError):
        assert list((tmp_path / "a" / "b").iterdir()) == []
