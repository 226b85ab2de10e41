"""`mooring undelete` against a cluster in memory, whose agent answers when it is asked."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
import yaml

from mooring.adapters.kubernetes.volume_catalogue import KubernetesCatalogue
from mooring.domain import errors, ids, volumes
from mooring.ports import cluster
from mooring.ports.catalogue import NodeReport
from mooring.volumes.fleet.undeletion import Undeletion
from mooring_cli import compose
from support.fake_cluster import FakeCluster

NODE = ids.NodeName("node-a")
MOMENT = datetime(2030, 1, 1, tzinfo=UTC)
HEALTHY = volumes.VolumeCondition(abnormal=False, message="healthy")
FORMER = ids.volume_id_for("pvc-1")


def _trashed(former: ids.VolumeId = FORMER, claim: str = "data") -> volumes.VolumeRecord:
    trashing = volumes.Trashing(former, MOMENT, MOMENT + timedelta(hours=24))
    labels = {"namespace": "shop", "claim": claim} if claim else {}
    spec = volumes.VolumeSpec(
        trashing.trashed_id, "pvc-1", ids.PoolName("fast"), 1 << 30, labels=labels
    )
    return volumes.VolumeRecord(spec, volumes.VolumeState.TRASHED, True, MOMENT, trashing=trashing)


class World:
    """A cluster, and an agent that acts while the command waits."""

    def __init__(self, run: Callable[..., tuple[int, str, str]]) -> None:
        self.objects = FakeCluster()
        self.catalogue = KubernetesCatalogue(self.objects)
        self.run = run
        self.records = [_trashed()]
        self.act: Callable[[volumes.VolumeRecord], volumes.VolumeRecord | None] = self.bring_back
        self.condition = HEALTHY
        self.report()

    def bring_back(self, record: volumes.VolumeRecord) -> volumes.VolumeRecord:
        return replace(record, state=volumes.VolumeState.READY, trashing=None)

    def report(self) -> None:
        statuses = [volumes.VolumeStatus(one, 0, False, self.condition) for one in self.records]
        self.catalogue.report(NODE, NodeReport(statuses))

    def wait(self, seconds: float) -> None:
        assert seconds > 0
        asked = [one for one in self.catalogue.entries() if one.undelete_requested]
        for entry in asked:
            (record,) = [o for o in self.records if o.spec.volume_id == entry.spec.volume_id]
            self.records.remove(record)
            after = self.act(record)
            if after is None:
                self.catalogue.drop(entry.spec.volume_id)
            else:
                self.records.append(after)
        self.report()

    def undeletion(self, kubeconfig: str | None, context: str | None) -> Undeletion:
        del kubeconfig, context
        return Undeletion(self.catalogue, self.catalogue, self.objects, self.wait)


@pytest.fixture
def world(mooring: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(partial(mooring, "undelete"))
    monkeypatch.setattr(compose, "open_undeletion", world.undeletion)
    return world


def _volume(world: World) -> dict[str, Any]:
    (found,) = world.objects.find(cluster.PERSISTENT_VOLUMES)
    return found


def test_it_lists_what_is_in_the_trash(world: World) -> None:
    code, out, _ = world.run("-o", "json")
    (row,) = json.loads(out)
    assert (code, row["claim"], row["size"]) == (0, "shop/data", "1Gi")
    assert (row["formerVolume"], row["expiresAt"]) == (FORMER, "2030-01-02 00:00")


@pytest.mark.parametrize("name", ["id", "former id", "claim"])
def test_it_is_brought_back_and_reserved_for_its_claim(world: World, name: str) -> None:
    volume_id = world.records[0].spec.volume_id
    what = {"id": volume_id, "former id": FORMER, "claim": "shop/data"}[name]
    code, out, err = world.run(what)
    assert code == 0, err
    spec = _volume(world)["spec"]
    assert spec["csi"] == {
        "driver": "csi.mooring.dev",
        "volumeHandle": volume_id,
        "fsType": "ext4",
    }
    assert (spec["claimRef"]["namespace"], spec["claimRef"]["name"]) == ("shop", "data")
    assert spec["persistentVolumeReclaimPolicy"] == "Retain"
    manifest = yaml.safe_load(out.split("---\n")[1])
    assert manifest["spec"]["volumeName"] == _volume(world)["metadata"]["name"]
    assert manifest["spec"]["storageClassName"] == spec["storageClassName"] == "mooring"
    code, *_ = world.run(volume_id)  # after a kill, or by mistake: the same again
    assert (code, len(world.objects.find(cluster.PERSISTENT_VOLUMES))) == (0, 1)


def test_a_claim_that_has_a_new_volume_is_named_with_what_to_do(world: World) -> None:
    claim = {
        "metadata": {"name": "data", "namespace": "shop"},
        "spec": {
            "storageClassName": "quick",
            "accessModes": ["ReadWriteOncePod"],
            "volumeName": "pvc-2",
        },
    }
    world.objects.create(cluster.CLAIMS, claim)
    code, out, _ = world.run("shop/data")
    assert code == 0
    assert "kubectl -n shop delete pvc data" in out
    spec = _volume(world)["spec"]
    assert (spec["storageClassName"], spec["accessModes"]) == ("quick", ["ReadWriteOncePod"])


def test_another_claim_can_have_it(world: World) -> None:
    world.records.append(_trashed(ids.volume_id_for("pvc-9"), claim=""))
    world.report()
    unnamed = world.records[1].spec.volume_id
    code, _, err = world.run(unnamed)
    assert code == 2
    assert "--claim" in err
    assert world.run(unnamed, "--claim", "shop/old", "--storage-class", "slow")[0] == 0
    spec = _volume(world)["spec"]
    assert (spec["claimRef"]["name"], spec["storageClassName"]) == ("old", "slow")


def test_two_of_one_name_are_told_apart(world: World) -> None:
    world.records.append(_trashed(ids.volume_id_for("pvc-2")))
    world.report()
    code, _, err = world.run("shop/data")
    assert code == 2
    assert all(one.spec.volume_id in err for one in world.records)
    assert not any(entry.undelete_requested for entry in world.catalogue.entries())


def test_what_is_not_there_or_goes_meanwhile_is_said(world: World) -> None:
    code, _, err = world.run("shop/other")
    assert code == 3
    assert "kubectl mooring undelete" in err
    world.act = lambda record: None
    code, _, err = world.run("shop/data")
    assert (code, "freed meanwhile" in err) == (3, True)
    assert not world.objects.find(cluster.PERSISTENT_VOLUMES)


def test_a_silent_node_and_one_without_room_are_said(world: World) -> None:
    world.act = lambda record: record
    code, _, err = world.run("shop/data", "--timeout", "3")
    assert (code, "node-a has not brought" in err) == (11, True)
    world.condition = volumes.VolumeCondition(abnormal=True, message="the pool has no room")
    code, _, err = world.run("shop/data")
    assert (code, "the pool has no room" in err) == (5, True)
    assert not world.objects.find(cluster.PERSISTENT_VOLUMES)


def test_without_a_cluster_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(errors.PreconditionFailed, match="no cluster"):
        compose.open_undeletion(str(tmp_path / "absent"), None)
