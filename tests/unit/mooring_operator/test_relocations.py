"""PersistentVolumes of volumes whose pool came to another node."""

import pytest

from mooring.adapters.kubernetes.volume_catalogue import KubernetesCatalogue
from mooring.api import keys, persistent_volumes
from mooring.domain import errors, ids, volumes
from mooring.ports import cluster
from mooring.ports.catalogue import NodeReport
from mooring_operator import resources
from mooring_operator.relocations import KEY, Relocations
from support.fake_cluster import FakeCluster
from support.fake_nodes import CREATED_AT

OLD, NEW = ids.NodeName("node-1"), ids.NodeName("node-2")
SPEC = volumes.VolumeSpec(ids.volume_id_for("pvc-1"), "pvc-1", ids.PoolName("fast"), 64 << 20)
CLAIM = {"namespace": "shop", "name": "data", "uid": "u-1"}
FINALIZERS = ["kubernetes.io/pv-protection", "external-provisioner.volume.kubernetes.io/finalizer"]


def moved() -> FakeCluster:
    """A cluster whose volume has come from one node to another with its pool."""
    objects = FakeCluster()
    catalogue = KubernetesCatalogue(objects)
    catalogue.reserve(SPEC, OLD)
    binding = persistent_volumes.Binding("pvc-1", CLAIM, "mooring", ("ReadWriteOnce",), "Delete")
    made = persistent_volumes.user_volume(SPEC, OLD, binding)
    made["metadata"]["finalizers"] = FINALIZERS
    objects.create(cluster.PERSISTENT_VOLUMES, made)
    record = volumes.VolumeRecord(SPEC, volumes.VolumeState.READY, True, CREATED_AT)
    healthy = volumes.VolumeCondition(abnormal=False, message="")
    status = volumes.VolumeStatus(record, 0, published=False, condition=healthy)
    catalogue.report(NEW, NodeReport([status], adopted_from={SPEC.pool: (OLD,)}))
    return objects


def settled(objects: FakeCluster) -> None:
    found = objects.must_get(cluster.PERSISTENT_VOLUMES, "pvc-1")
    assert persistent_volumes.is_on(found, NEW)
    assert "deletionTimestamp" not in found["metadata"]
    assert found["spec"]["claimRef"] == CLAIM
    assert found["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
    assert found["metadata"]["annotations"] == {keys.PROVISIONED_BY: keys.DRIVER}
    volume = objects.must_get(resources.VOLUMES, SPEC.volume_id)
    assert not volume["metadata"].get("annotations")


def test_it_is_made_anew_whatever_call_fails() -> None:
    objects = moved()
    objects.calls.clear()
    Relocations(objects).reconcile(KEY)
    settled(objects)
    calls = len(objects.calls)
    assert calls > 5
    for failing in range(calls):
        objects = moved()
        left = [failing]

        def fail(_: str, left: list[int] = left) -> errors.MooringError | None:
            left[0] -= 1
            return errors.Unreachable("the API server is away") if left[0] == -1 else None

        objects.fail = fail
        with pytest.raises(errors.Unreachable):
            Relocations(objects).reconcile(KEY)
        Relocations(objects).reconcile(KEY)
        settled(objects)


def test_the_driver_is_never_told_to_delete_what_is_only_moved() -> None:
    objects = moved()
    seen = []

    def look(call: str) -> None:
        if call.startswith("delete persistentvolumes"):
            spec = objects.must_get(cluster.PERSISTENT_VOLUMES, "pvc-1")["spec"]
            seen.append(spec["persistentVolumeReclaimPolicy"])

    objects.fail = look
    Relocations(objects).reconcile(KEY)
    assert seen == ["Retain"]


def test_nothing_happens_to_one_that_is_where_its_volume_is_or_is_being_deleted() -> None:
    objects = moved()
    Relocations(objects).reconcile(KEY)
    before = objects.must_get(cluster.PERSISTENT_VOLUMES, "pvc-1")
    Relocations(objects).reconcile(KEY)
    assert objects.must_get(cluster.PERSISTENT_VOLUMES, "pvc-1") == before

    objects = moved()
    objects.delete(cluster.PERSISTENT_VOLUMES, "pvc-1")
    before = objects.must_get(cluster.PERSISTENT_VOLUMES, "pvc-1")
    Relocations(objects).reconcile(KEY)
    assert objects.must_get(cluster.PERSISTENT_VOLUMES, "pvc-1") == before
