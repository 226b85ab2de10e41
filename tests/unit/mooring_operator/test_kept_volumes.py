"""PersistentVolumes outlive the claims of VolumeClaims with Retain, against an API in memory."""

import pytest

from mooring.api import keys
from mooring.domain import errors
from mooring.ports import cluster
from mooring_operator import resources
from support.fake_cluster import FakeCluster
from support.volume_claim_world import KEY, World

POLICY = "persistentVolumeReclaimPolicy"


def _bound(policy: str = "Delete", **spec: object) -> World:
    """A VolumeClaim whose claim has been bound, and whose volume nobody has looked at yet."""
    world = World()
    world.apply(**spec)
    world.settle()
    world.bind()
    _set(world.cluster, policy)
    return world


def _set(objects: FakeCluster, policy: str) -> None:
    objects.patch(cluster.PERSISTENT_VOLUMES, "pv-1", {"spec": {POLICY: policy}})


def _wish(world: World, policy: str) -> None:
    change = {"spec": {"deletionPolicy": policy}}
    world.cluster.patch(resources.VOLUME_CLAIMS, "data", change, "apps")


def _policy(world: World) -> str:
    volume = world.cluster.must_get(cluster.PERSISTENT_VOLUMES, "pv-1")
    return str(volume["spec"][POLICY])


def _mark(world: World) -> str | None:
    volume = world.cluster.must_get(cluster.PERSISTENT_VOLUMES, "pv-1")
    mark: str | None = volume["metadata"].get("annotations", {}).get(keys.RECLAIM_POLICY)
    return mark


def test_a_bound_volume_is_kept_by_default() -> None:
    world = _bound()
    assert world.settle()["reason"] == "Bound"
    assert (_policy(world), _mark(world)) == ("Retain", "Delete")


def test_a_volume_that_is_kept_is_written_once() -> None:
    world = _bound()
    world.settle()
    world.cluster.calls.clear()
    world.settle()
    assert not [call for call in world.cluster.calls if call.startswith("patch persistentvolumes")]


def test_with_delete_nothing_is_changed() -> None:
    world = _bound(deletionPolicy="Delete")
    world.settle()
    assert (_policy(world), _mark(world)) == ("Delete", None)


def test_delete_gives_the_volume_its_own_policy_back() -> None:
    world = _bound()
    world.settle()
    _wish(world, "Delete")
    world.settle()
    assert (_policy(world), _mark(world)) == ("Delete", None)


def test_what_users_keep_themselves_stays_kept() -> None:
    world = _bound("Retain")
    world.settle()
    assert _mark(world) is None
    _wish(world, "Delete")
    world.settle()
    assert _policy(world) == "Retain"


def test_users_who_take_the_mark_off_keep_it_themselves() -> None:
    world = _bound()
    world.settle()
    change = {"metadata": {"annotations": {keys.RECLAIM_POLICY: None}}}
    world.cluster.patch(cluster.PERSISTENT_VOLUMES, "pv-1", change)
    world.settle()
    _wish(world, "Delete")
    world.settle()
    assert _policy(world) == "Retain"


def test_a_volume_that_users_loosen_is_kept_again_until_the_wish_changes() -> None:
    world = _bound()
    world.settle()
    _set(world.cluster, "Delete")
    world.settle()
    assert (_policy(world), _mark(world)) == ("Retain", "Delete")


def test_a_mark_that_is_no_policy_loosens_nothing() -> None:
    world = _bound()
    world.settle()
    change = {"metadata": {"annotations": {keys.RECLAIM_POLICY: "Recycle"}}}
    world.cluster.patch(cluster.PERSISTENT_VOLUMES, "pv-1", change)
    _wish(world, "Delete")
    world.settle()
    assert (_policy(world), _mark(world)) == ("Retain", None)


def test_a_claim_that_is_deleted_with_its_data_gives_back_first() -> None:
    """The wish changed and the VolumeClaim was deleted before the operator looked."""
    world = _bound()
    world.settle()
    change = {"metadata": {"finalizers": [keys.FINALIZER]}, "spec": {"deletionPolicy": "Delete"}}
    world.cluster.patch(resources.VOLUME_CLAIMS, "data", change, "apps")
    world.cluster.delete(resources.VOLUME_CLAIMS, "data", "apps")
    world.cluster.calls.clear()
    world.claims.reconcile(KEY)
    changes = [
        call.split()[:2] for call in world.cluster.calls if not call.startswith(("get", "find"))
    ]
    assert changes[:2] == [["patch", "persistentvolumes"], ["delete", "persistentvolumeclaims"]]
    assert _policy(world) == "Delete"


def test_the_end_of_the_kind_loosens_nothing() -> None:
    world = _bound()
    world.settle()
    kind = f"{resources.VOLUME_CLAIMS.plural}.{keys.GROUP}"
    body = {"metadata": {"name": kind, "finalizers": ["customresourcecleanup"]}}
    world.cluster.create(cluster.KINDS, body)
    world.cluster.delete(cluster.KINDS, kind)
    change = {"metadata": {"finalizers": [keys.FINALIZER]}, "spec": {"deletionPolicy": "Delete"}}
    world.cluster.patch(resources.VOLUME_CLAIMS, "data", change, "apps")
    world.cluster.delete(resources.VOLUME_CLAIMS, "data", "apps")
    world.claims.reconcile(KEY)
    assert _policy(world) == "Retain"
    assert world.pvc(), "the claim stays too"


def test_a_volume_is_kept_also_when_its_claim_is_in_the_way() -> None:
    """An obstacle for the VolumeClaim, here a size that shrank, puts no data at risk."""
    world = _bound()
    _wish(world, "Retain")
    world.cluster.patch(resources.VOLUME_CLAIMS, "data", {"spec": {"size": "1Gi"}}, "apps")
    assert world.settle()["reason"] == "SizeOutOfRange"
    assert _policy(world) == "Retain"


def test_the_volume_of_a_claim_that_is_not_its_own_is_left_alone() -> None:
    world = _bound()
    labels = {"metadata": {"labels": {keys.VOLUME_CLAIM: "other"}}}
    world.cluster.patch(cluster.CLAIMS, "data", labels, "apps")
    assert world.settle()["reason"] == "ClaimNotOurs"
    assert _policy(world) == "Delete"


def test_a_volume_that_is_bound_to_another_claim_is_left_alone() -> None:
    world = _bound()
    change = {"spec": {"claimRef": {"uid": "another"}}}
    world.cluster.patch(cluster.PERSISTENT_VOLUMES, "pv-1", change)
    world.settle()
    assert _policy(world) == "Delete"


def test_what_users_do_at_the_same_moment_is_looked_at_again() -> None:
    """They say Retain after it was read: then it is theirs, and not given back later."""
    world = _bound()

    def users_keep_it(call: str) -> None:
        if call.startswith("patch persistentvolumes "):
            world.cluster.fail = lambda _: None
            _set(world.cluster, "Retain")

    world.cluster.fail = users_keep_it
    with pytest.raises(errors.Busy):
        world.claims.reconcile(KEY)
    world.settle()
    _wish(world, "Delete")
    world.settle()
    assert (_policy(world), _mark(world)) == ("Retain", None)
