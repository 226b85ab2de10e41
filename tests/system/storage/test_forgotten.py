"""What a killed kubelet left published: let go once its pod is gone, and never before."""

import os
import stat
import time
from pathlib import Path

import pytest

from mooring.adapters.host import commands
from mooring.domain import errors, ids, volumes
from mooring.volumes.local.publish import Publication
from mooring.volumes.local.staging import Access
from support import guarded
from support.real_storage import MIB, Machine, mounts_below, spec, write_synced

pytestmark = pytest.mark.system
ONE = ids.volume_id_for("one")
FIRST, SECOND = (f"0000000{n}-1111-2222-3333-444444444444" for n in (1, 2))
BLOCK = Access(mode=volumes.VolumeMode.BLOCK)
CSI = "plugins/kubernetes.io/csi"


def _pod(machine: Machine, uid: str) -> Path:
    folder = machine.kubelet / "pods" / uid
    folder.mkdir(parents=True)
    return folder


def _device_path(machine: Machine, uid: str) -> Path:
    return machine.kubelet / CSI / "volumeDevices/publish/pv-one" / uid


def _publish_device(machine: Machine, uid: str) -> Path:
    machine.node.publisher.stage(ONE, str(machine.kubelet / CSI / "staging"), BLOCK)
    target = _device_path(machine, uid)
    publication = Publication(str(machine.kubelet / CSI / "staging"), str(target), BLOCK)
    machine.node.publisher.publish(ONE, publication)
    return target


def test_a_filling_volume_is_let_go_with_what_the_kubelet_put_on_top(machine: Machine) -> None:
    machine.node.create_volume(spec("one", 64 * MIB, None, filling=True))
    pod, target = _pod(machine, FIRST), _device_path(machine, FIRST)
    machine.node.exposures.expose(f"populate/{ONE}", str(target), read_only=False, group_id=0)
    commands.run(["losetup", "--find", str(target)])
    (device,) = machine.host.loops.find_all(machine.image(ONE))
    machine.node.forgotten.wait_seconds = 0
    assert machine.node.forgotten.check() == [], "its pod is there"
    pod.rmdir()
    machine.node.forgotten.wait_seconds = 3600
    assert machine.node.forgotten.check() == [], "its pod may be about to come"
    with pytest.raises(errors.InUse):
        machine.node.finish_filling(ONE)
    machine.node.forgotten.wait_seconds = 0
    (note,) = machine.node.forgotten.check()
    assert "whose pod is gone" in note
    assert not target.exists()
    assert machine.host.loops.on_top_of(device.path) == ()
    assert machine.node.finish_filling(ONE).state is volumes.VolumeState.READY


def test_an_agent_that_is_new_need_not_wait_again(machine: Machine) -> None:
    machine.node.create_volume(spec("one", 64 * MIB, None))
    pod = _pod(machine, FIRST)
    target = _publish_device(machine, FIRST)
    pod.rmdir()
    assert machine.restart().forgotten.check() == [], "it may be made just now"
    long_ago = time.time() - 31
    os.utime(target.parent, (long_ago, long_ago))
    (note,) = machine.restart().forgotten.check()
    assert "whose pod is gone" in note
    assert not target.exists()


def test_only_the_pod_that_is_gone_loses_its_device(machine: Machine) -> None:
    machine.node.create_volume(spec("one", 64 * MIB, None))
    gone, _ = _pod(machine, FIRST), _pod(machine, SECOND)
    targets = [_publish_device(machine, uid) for uid in (FIRST, SECOND)]
    gone.rmdir()
    machine.node.forgotten.wait_seconds = 0
    assert len(machine.node.forgotten.check()) == 1
    assert [target.exists() for target in targets] == [False, True]
    assert stat.S_ISBLK(targets[1].stat().st_mode)
    write_synced(targets[1], os.urandom(4096))
    with pytest.raises(errors.InUse):
        machine.node.delete_volume(ONE)
    (machine.kubelet / "pods" / SECOND).rmdir()
    assert len(machine.node.forgotten.check()) == 1
    machine.node.delete_volume(ONE)
    assert machine.host.loops.find_all(machine.image(_trashed(machine))) == ()


def test_a_stage_that_nobody_asks_for_goes_with_its_volume(machine: Machine) -> None:
    machine.node.create_volume(spec("one"))
    pod = _pod(machine, FIRST)
    staging = str(machine.kubelet / CSI / "csi.mooring.dev" / ("0" * 64) / "globalmount")
    target = pod / "volumes/kubernetes.io~csi/pv-one/mount"
    machine.node.publisher.stage(ONE, staging, Access())
    machine.node.publisher.publish(ONE, Publication(staging, str(target), Access()))
    write_synced(target / "data", b"kept")
    with pytest.raises(errors.InUse):
        machine.node.delete_volume(ONE)
    assert (target / "data").read_bytes() == b"kept", "a pod has it"
    machine.node.publisher.unpublish(ONE, str(target))
    machine.node.delete_volume(ONE)
    assert mounts_below(machine.kubelet) == []
    (back,) = [one.record.spec.volume_id for one in machine.node.list_volumes()]
    machine.node.undelete_volume(back)
    machine.node.publisher.stage(back, staging, Access())
    assert (Path(staging) / "data").read_bytes() == b"kept"


def test_also_where_its_writes_wait_for_room(machine: Machine) -> None:
    machine.node.create_volume(spec("one"))
    staging = machine.kubelet / CSI / "csi.mooring.dev" / ("0" * 64) / "globalmount"
    machine.node.publisher.stage(ONE, str(staging), Access())
    write_synced(staging / "data", b"kept")
    standstill = machine.node._context.standstill
    standstill.hold(machine.host.freezes, {ONE: staging})
    guarded.until("it to stand still", lambda: machine.host.freezes.is_frozen(staging), 10)
    machine.node.delete_volume(ONE)
    assert mounts_below(machine.kubelet) == []
    assert machine.host.loops.find_all(machine.image(_trashed(machine))) == ()
    back = machine.node.undelete_volume(_trashed(machine)).spec.volume_id
    machine.node.publisher.stage(back, str(staging), Access())
    assert (staging / "data").read_bytes() == b"kept"
    machine.node.publisher.unstage(back, str(staging))


def _trashed(machine: Machine) -> ids.VolumeId:
    (found,) = [one.record.spec.volume_id for one in machine.node.list_volumes()]
    return found
