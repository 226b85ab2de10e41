"""VolumeClaims, reconciled against an API server in memory."""

import contextlib

import pytest

from mooring.api import keys
from mooring.domain import errors, ids
from mooring.ports import cluster
from mooring_operator import resources
from mooring_operator.recorder import Recorder
from mooring_operator.waiting_claims import KEY as WAITING_KEY
from mooring_operator.waiting_claims import WaitingClaims
from support.volume_claim_world import KEY, World


@pytest.fixture
def world() -> World:
    return World()


def test_makes_the_claim_of_its_name_and_says_what_it_waits_for(world: World) -> None:
    world.apply()
    ready = world.settle()
    pvc = world.pvc()
    assert pvc["spec"]["resources"]["requests"]["storage"] == "10Gi"
    assert pvc["spec"]["storageClassName"] == "mooring"
    assert "ownerReferences" not in pvc["metadata"]
    assert (ready["status"], ready["reason"]) == ("False", "WaitingForFirstPod")
    assert "Start a pod" in ready["message"]


def test_shows_node_and_why_once_bound(world: World) -> None:
    world.apply()
    world.settle()
    note = {"metadata": {"annotations": {keys.SELECTED_NODE: "node-1"}}}
    world.cluster.patch(cluster.CLAIMS, "data", note, "apps")
    world.bind()
    ready = world.settle()
    status = world.cluster.must_get(resources.VOLUME_CLAIMS, "data", "apps")["status"]
    assert (ready["status"], ready["reason"]) == ("True", "Bound")
    assert (status["node"], status["capacity"]) == ("node-1", "10Gi")
    assert "scheduler" in status["placementReason"]
    assert status["observedGeneration"] == 1


def test_settled_claims_are_not_written_again(world: World) -> None:
    world.apply()
    world.settle()
    world.cluster.calls.clear()
    world.settle()
    assert not [call for call in world.cluster.calls if not call.startswith(("get", "find"))]


def test_grows_its_claim(world: World) -> None:
    world.apply()
    world.settle()
    world.bind()
    world.settle()
    world.cluster.patch(resources.VOLUME_CLAIMS, "data", {"spec": {"size": "12Gi"}}, "apps")
    ready = world.settle()
    assert world.pvc()["spec"]["resources"]["requests"]["storage"] == "12Gi"
    assert (ready["status"], ready["reason"]) == ("False", "Growing")
    world.bind("12Gi")
    assert world.settle()["reason"] == "Bound"


def test_a_foreign_claim_is_left_alone(world: World) -> None:
    body = {
        "metadata": {"name": "data", "namespace": "apps"},
        "spec": {"storageClassName": "mooring", "resources": {"requests": {"storage": "1Gi"}}},
    }
    before = world.cluster.create(cluster.CLAIMS, body)
    world.apply()
    ready = world.settle()
    assert ready["reason"] == "ClaimNotOurs"
    assert world.pvc() == before
    handed_over = {"metadata": {"labels": {keys.VOLUME_CLAIM: "data"}}}
    world.cluster.patch(cluster.CLAIMS, "data", handed_over, "apps")
    assert world.settle()["reason"] == "WaitingForFirstPod"


def test_a_larger_claim_is_never_shrunk(world: World) -> None:
    world.apply()
    world.settle()
    change = {"spec": {"resources": {"requests": {"storage": "20Gi"}}}}
    world.cluster.patch(cluster.CLAIMS, "data", change, "apps")
    ready = world.settle()
    assert ready["reason"] == "SizeOutOfRange"
    assert "20Gi" in ready["message"]


@pytest.mark.parametrize(("policy", "kept"), [("Retain", True), ("Delete", False)])
def test_deletion_keeps_data_unless_told_otherwise(world: World, policy: str, kept: bool) -> None:
    world.apply(deletionPolicy=policy)
    world.settle()
    world.cluster.delete(resources.VOLUME_CLAIMS, "data", "apps")
    for _ in range(3):
        world.claims.reconcile(KEY)
    assert world.cluster.names(resources.VOLUME_CLAIMS) == []
    assert (world.cluster.names(cluster.CLAIMS) == ["data"]) is kept


def test_only_what_takes_its_data_along_waits_for_the_operator(world: World) -> None:
    def finalizers() -> list[str]:
        claim = world.cluster.must_get(resources.VOLUME_CLAIMS, "data", "apps")
        return list(claim["metadata"].get("finalizers", []))

    world.apply()
    world.settle()
    assert finalizers() == []
    for policy, held in (("Delete", [keys.FINALIZER]), ("Retain", [])):
        change = {"spec": {"deletionPolicy": policy}}
        world.cluster.patch(resources.VOLUME_CLAIMS, "data", change, "apps")
        world.settle()
        assert finalizers() == held


def test_deleting_the_kind_takes_no_data_along(world: World) -> None:
    world.apply(deletionPolicy="Delete")
    world.settle()
    name = "volumeclaims.mooring.dev"
    metadata = {"name": name, "finalizers": ["customresourcecleanup.apiextensions.k8s.io"]}
    world.cluster.create(cluster.KINDS, {"metadata": metadata})
    world.cluster.delete(cluster.KINDS, name)
    world.cluster.delete(resources.VOLUME_CLAIMS, "data", "apps")
    world.claims.reconcile(KEY)
    assert world.cluster.names(resources.VOLUME_CLAIMS) == []
    assert world.cluster.names(cluster.CLAIMS) == ["data"]


def test_a_claim_kept_is_adopted_by_the_next_of_its_name(world: World) -> None:
    world.apply()
    world.settle()
    world.cluster.delete(resources.VOLUME_CLAIMS, "data", "apps")
    world.claims.reconcile(KEY)
    world.apply()
    assert world.settle()["reason"] == "WaitingForFirstPod"
    owner = world.cluster.must_get(resources.VOLUME_CLAIMS, "data", "apps")["metadata"]["uid"]
    assert world.pvc()["metadata"]["labels"][keys.OWNER_UID] == owner


def test_deletion_names_what_holds_the_claim_and_what_frees_it(world: World) -> None:
    world.apply(deletionPolicy="Delete")
    world.settle()
    world.bind()
    world.use("node-1")
    world.cluster.delete(resources.VOLUME_CLAIMS, "data", "apps")
    ready = world.settle()
    assert ready["reason"] == "InUse"
    assert "kubectl delete pod db-0 -n apps" in ready["message"]
    assert world.held.reconcile(KEY), "it is looked at as long as it is there"
    world.silence("node-1")
    ready = world.settle()
    assert ready["reason"] == "NodeUnreachable"
    assert "kubectl delete pod db-0 -n apps --force --grace-period=0" in ready["message"]
    assert "only if it is surely switched off" in ready["message"]
    assert world.held.reconcile(KEY)
    told = [e for e in world.cluster.find(cluster.EVENTS) if e["reason"] == ready["reason"]]
    assert {e["involvedObject"]["kind"] for e in told} == {"VolumeClaim", "PersistentVolumeClaim"}
    assert all("--grace-period=0" in e["message"] for e in told)


def test_a_bound_claim_says_that_its_node_is_away_or_removed(world: World) -> None:
    world.apply()
    world.settle()
    world.bind()
    assert world.settle()["status"] == "True"
    world.silence("node-1")
    ready = world.settle()
    assert (ready["status"], ready["reason"]) == ("False", "NodeUnreachable")
    world.cluster.delete(cluster.NODES, "node-1")
    world.clock.advance(5)
    ready = world.settle()
    assert ready["reason"] == "NodeRemoved"
    assert "kubectl mooring forget-node node-1" in ready["message"]


def test_a_claim_says_that_its_writes_wait_for_room_and_that_they_go_on(world: World) -> None:
    world.apply()
    world.settle()
    world.bind()
    world.frozen(waits=False)
    assert world.settle()["reason"] == "Bound"
    world.frozen(waits=True)
    ready = world.settle()
    assert (ready["status"], ready["reason"]) == ("False", "WritesWait")
    assert "pool default is full: delete snapshots" in ready["message"]
    assert ("Warning", "WritesWait") in world.told("VolumeClaim")
    world.silence("node-1")
    assert world.settle()["reason"] == "NodeUnreachable", "what it waits for comes after its node"
    world.awake("node-1")
    world.frozen(waits=False)
    assert world.settle()["reason"] == "Bound"


def test_a_claim_without_a_volumeclaim_is_told_once_when_a_wait_begins_and_ends(
    world: World,
) -> None:
    world.apply()
    world.settle()
    world.bind()
    world.frozen(waits=False)
    waiting = WaitingClaims(world.cluster, Recorder(world.cluster, world.clock))

    def rounds() -> list[tuple[str, str]]:
        for _ in range(2):
            assert waiting.reconcile(WAITING_KEY)
        return world.told("PersistentVolumeClaim")

    assert rounds() == []
    assert "find volumes /" not in world.cluster.calls[-4:], "read although there is room"
    world.frozen(waits=True)
    assert rounds() == [("Warning", "WritesWait")]
    [event] = [e for e in world.cluster.find(cluster.EVENTS) if e["reason"] == "WritesWait"]
    assert event["count"] == 1
    assert event["message"].endswith("pool default is full: delete snapshots")
    entry = {"node": "node-1", "healthy": False, "waitingVolumes": 0}
    world.cluster.set_status(resources.POOLS, "default", "", {"nodes": [entry]})
    assert len(rounds()) == 1, "a node that does not answer says nothing"
    world.frozen(waits=False)
    assert sorted(rounds()) == [("Normal", "WritesWaitOver"), ("Warning", "WritesWait")]
    world.frozen(waits=True)
    rounds()
    world.cluster.delete(resources.VOLUMES, ids.volume_id_for("pvc-1"))
    assert len(rounds()) == 2, "a volume that is gone does not go on"


def test_an_event_goes_to_no_other_claim_of_the_same_name(world: World) -> None:
    world.apply()
    world.settle()
    world.bind()
    world.frozen(waits=True)
    reference = {"claimRef": {"namespace": "apps", "name": "data", "uid": "another"}}
    world.cluster.patch(cluster.PERSISTENT_VOLUMES, "pv-1", {"spec": reference})
    WaitingClaims(world.cluster, Recorder(world.cluster, world.clock)).reconcile(WAITING_KEY)
    assert world.told("PersistentVolumeClaim") == []


def test_placement_by_labels_takes_the_roomiest_node(world: World) -> None:
    world.apply(placement={"nodeSelector": {"disk": "nvme"}})
    ready = world.settle()
    assert world.pvc()["metadata"]["annotations"][keys.SELECTED_NODE] == "node-2"
    assert ready["reason"] == "Provisioning"


def test_a_full_node_is_refused_before_a_claim_is_made(world: World) -> None:
    world.apply(placement={"node": "node-1"})
    ready = world.settle()
    assert ready["reason"] == "SpaceExhausted"
    assert world.cluster.names(cluster.CLAIMS) == []


def test_a_node_that_refused_is_asked_again_after_a_while(world: World) -> None:
    world.apply(size="1Gi", placement={"node": "node-1"})
    world.settle()
    gone = {"metadata": {"annotations": {keys.SELECTED_NODE: None}}}
    world.cluster.patch(cluster.CLAIMS, "data", gone, "apps")
    assert world.settle()["reason"] == "PlacementRefused"
    world.clock.advance(16)
    assert world.settle()["reason"] == "Provisioning"


def test_a_scheduler_that_picks_another_node_meanwhile_is_overruled(world: World) -> None:
    world.apply(size="1Gi", placement={"node": "node-1"})
    world.settle()
    picked = {"metadata": {"annotations": {keys.SELECTED_NODE: "node-2"}}}
    world.cluster.patch(cluster.CLAIMS, "data", picked, "apps")
    assert world.settle()["reason"] == "PlacementRefused"
    world.clock.advance(16)
    assert "node-1" in world.settle()["message"]
    notes = world.pvc()["metadata"]["annotations"]
    assert (notes[keys.SELECTED_NODE], notes[keys.PLACEMENT_NODE]) == ("node-1", "node-1")


def test_only_what_says_where_it_shall_be_is_bound_to_a_node(world: World) -> None:
    world.apply(size="1Gi")
    world.settle()
    assert keys.PLACEMENT_NODE not in world.pvc()["metadata"].get("annotations", {})


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"size": "0"}, "InvalidInput"),
        ({"size": "-1Gi"}, "InvalidInput"),
        ({"size": None}, "InvalidInput"),
        ({"size": {"a": 1}}, "InvalidInput"),
        ({"storageClassName": "none"}, "StorageClassNotFound"),
        ({"placement": {"node": "node-9"}}, "PreconditionFailed"),
    ],
)
def test_bad_input_is_a_condition(world: World, spec: dict[str, object], reason: str) -> None:
    world.apply(**spec)
    assert world.settle()["reason"] == reason
    assert world.cluster.names(cluster.CLAIMS) == []


def test_each_reason_is_an_event_once(world: World) -> None:
    world.apply(storageClassName="none")
    world.settle()
    world.settle()
    events = world.cluster.find(cluster.EVENTS)
    assert [event["reason"] for event in events] == ["StorageClassNotFound"]
    assert events[0]["type"] == "Warning"


def test_a_kill_between_any_two_calls_is_made_good(world: World) -> None:
    world.apply()
    for limit in range(1, 40):
        left = [limit]

        def killed(call: str, left: list[int] = left) -> errors.MooringError | None:
            left[0] -= 1
            return errors.Unreachable("killed here") if left[0] < 0 else None

        world.cluster.fail = killed
        with contextlib.suppress(errors.Unreachable):
            world.claims.reconcile(KEY)
    world.cluster.fail = lambda call: None
    assert world.settle()["reason"] == "WaitingForFirstPod"
    assert world.cluster.names(cluster.CLAIMS) == ["data"]


def test_one_that_became_unreadable_can_be_deleted(world: World) -> None:
    world.apply(deletionPolicy="Delete")
    world.settle()
    huge = {"spec": {"size": "9" * 18 + "Ei"}}
    world.cluster.patch(resources.VOLUME_CLAIMS, "data", huge, "apps")
    assert world.settle()["reason"] == "InvalidInput"
    world.cluster.delete(resources.VOLUME_CLAIMS, "data", "apps")
    world.claims.reconcile(KEY)
    assert world.cluster.names(resources.VOLUME_CLAIMS) == []
    assert world.cluster.names(cluster.CLAIMS) == ["data"]
