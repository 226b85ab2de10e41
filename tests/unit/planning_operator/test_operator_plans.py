"""The operator's plans: what holds for every observation, and the cases that matter most."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.domain import errors, ids
from mooring.planning import (
    backup_run_plan,
    claim_holders,
    claim_plan,
    movers,
    placement_plan,
    populate_plan,
    recovery_slots,
    repository_plan,
    verdicts,
)
from mooring.planning.movers import Mover, MoverState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GIB = 1 << 30

_mover = st.builds(
    Mover, st.sampled_from(MoverState), st.integers(0, 7), st.just("Word"), st.text(max_size=9)
)
_need = st.builds(
    backup_run_plan.Need, st.booleans(), st.booleans(), st.just("Missing"), st.just("m")
)
_backup = st.builds(
    backup_run_plan.Observed,
    created_at=st.just(NOW),
    starting_deadline_seconds=st.integers(1, 1000),
    outcome=st.sampled_from([True, False, None]),
    stored=st.booleans(),
    released=st.booleans(),
    deleting=st.booleans(),
    held_by=st.sampled_from([(), ("back",)]),
    forget_bytes=st.booleans(),
    source=_need,
    repository=_need,
    snapshot_taken=st.booleans(),
    mover=_mover,
    forgetting=_mover,
    preparing=_need,
    answered=st.booleans(),
)
_populate = st.builds(
    populate_plan.Observed,
    claim=st.just("data"),
    bound=st.booleans(),
    deleting=st.booleans(),
    held=st.booleans(),
    size_bytes=st.integers(0, 4 * GIB),
    mode=st.sampled_from(["Filesystem", "Block"]),
    class_is_ours=st.booleans(),
    waits_for_pod=st.booleans(),
    point=st.one_of(
        st.none(),
        st.builds(
            populate_plan.Point,
            st.one_of(st.none(), st.integers(1, 4 * GIB)),
            st.sampled_from([None, "Filesystem", "Block"]),
        ),
    ),
    point_message=st.just("gone"),
    node=st.sampled_from([None, "node-1"]),
    repository=_need,
    volume_made=st.booleans(),
    exposed=st.booleans(),
    finished=st.booleans(),
    verified=st.booleans(),
    failure=st.sampled_from([None, ("DataCorrupt", "chunk 1")]),
    mover=_mover,
    place=_need,
)


@given(_backup)
def test_a_backup_that_is_over_starts_nothing(seen: backup_run_plan.Observed) -> None:
    action = backup_run_plan.decide(seen, NOW).action
    if seen.outcome is not None or seen.deleting:
        assert action not in (backup_run_plan.Action.START, backup_run_plan.Action.SNAPSHOT)


@given(_backup)
def test_a_backup_in_use_is_never_let_go(seen: backup_run_plan.Observed) -> None:
    if seen.deleting and seen.held_by:
        assert backup_run_plan.decide(seen, NOW).action is backup_run_plan.Action.WAIT


@given(_backup)
def test_bytes_are_forgotten_only_when_asked_for(seen: backup_run_plan.Observed) -> None:
    if backup_run_plan.decide(seen, NOW).action is backup_run_plan.Action.FORGET:
        assert seen.deleting
        assert seen.forget_bytes
        assert not seen.held_by


@given(_backup)
def test_it_is_let_go_only_when_its_bytes_are_settled(seen: backup_run_plan.Observed) -> None:
    if backup_run_plan.decide(seen, NOW).action is backup_run_plan.Action.LET_GO:
        assert seen.deleting
        wanted = seen.forget_bytes and seen.stored
        assert not wanted or seen.forgetting.state is MoverState.SUCCEEDED


@given(_backup)
def test_waiting_to_start_ends_by_the_deadline(seen: backup_run_plan.Observed) -> None:
    pending = seen.mover if seen.mover.state is MoverState.PENDING else movers.ABSENT
    seen = replace(seen, outcome=None, deleting=False, mover=pending)
    late = NOW + timedelta(seconds=seen.starting_deadline_seconds)
    decision = backup_run_plan.decide(seen, late)
    needs = [seen.preparing]
    if pending is movers.ABSENT:
        needs += [seen.source, seen.repository]
    if not all(need.ready for need in needs):
        assert decision.verdict is not None
        assert decision.verdict.outcome is verdicts.Outcome.FAILED


@given(_backup)
def test_nothing_succeeds_that_cannot_be_restored(seen: backup_run_plan.Observed) -> None:
    if backup_run_plan.decide(seen, NOW).action is backup_run_plan.Action.SUCCEED:
        assert seen.mover.state is MoverState.SUCCEEDED
        assert seen.answered
        assert seen.preparing.ready or not seen.preparing.hopeless


@given(_backup)
def test_the_mover_starts_only_with_everything_there(seen: backup_run_plan.Observed) -> None:
    if backup_run_plan.decide(seen, NOW).action is backup_run_plan.Action.START:
        assert seen.source.ready
        assert seen.repository.ready
        assert seen.snapshot_taken


@given(_populate)
def test_a_volume_is_finished_only_when_verified_and_left_alone(
    seen: populate_plan.Observed,
) -> None:
    if populate_plan.decide(seen).action is populate_plan.Action.FINISH:
        assert seen.verified
        assert not seen.exposed
        assert seen.mover.state is MoverState.ABSENT


@given(_populate)
def test_a_bound_claim_is_never_taken_apart(seen: populate_plan.Observed) -> None:
    seen = replace(seen, bound=True, deleting=False)
    action = populate_plan.decide(seen).action
    assert action in (populate_plan.Action.TIDY, populate_plan.Action.WAIT)


@given(_populate)
def test_nothing_is_made_for_a_claim_that_cannot_be_filled(seen: populate_plan.Observed) -> None:
    action = populate_plan.decide(seen).action
    if action in (populate_plan.Action.CREATE_VOLUME, populate_plan.Action.START):
        assert populate_plan.refuse(seen) is None
        assert seen.node is not None
        assert seen.point is not None
        assert seen.size_bytes >= (seen.point.size_bytes or 0)


@given(_populate)
def test_success_is_said_of_bound_claims_only(seen: populate_plan.Observed) -> None:
    if populate_plan.decide(seen).verdict.outcome is verdicts.Outcome.DONE:
        assert seen.bound


def _claim(**more: object) -> claim_plan.Claim:
    base = claim_plan.Claim(
        ours=True,
        owner_current=True,
        requested_bytes=GIB,
        capacity_bytes=GIB,
        storage_class="mooring",
        mode="Filesystem",
        bound=True,
        terminating=False,
    )
    return replace(base, **more)  # type: ignore[arg-type]


WISH = claim_plan.Wish("shop", "data", GIB, "mooring", "Filesystem", False, True, False)
CLASS = claim_plan.StorageClass(ours=True, expandable=True, waits_for_pod=True)


@given(
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.one_of(st.none(), st.booleans().map(lambda bound: _claim(bound=bound))),
)
def test_data_goes_only_with_policy_delete_and_only_ours(
    keep: bool, deleting: bool, ours: bool, claim: claim_plan.Claim | None
) -> None:
    wish = replace(WISH, keep_data=keep, deleting=deleting)
    found = None if claim is None else replace(claim, ours=ours)
    steps = claim_plan.plan(wish, found, CLASS, NOW).steps
    if claim_plan.DeleteClaim() in steps:
        assert deleting
        assert not keep
        assert ours


@given(st.integers(1, 1 << 50), st.integers(1, 1 << 50))
def test_sizes_only_grow(asked: int, present: int) -> None:
    claim = _claim(requested_bytes=present, capacity_bytes=present)
    plan = claim_plan.plan(replace(WISH, size_bytes=asked), claim, CLASS, NOW)
    grows = [step for step in plan.steps if isinstance(step, claim_plan.Grow)]
    assert [step.size_bytes for step in grows] == ([asked] if asked > present else [])
    if asked < present:
        assert plan.verdict.reason == "SizeOutOfRange"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ours": False}, "ClaimNotOurs"),
        ({"lost": True}, "VolumeLost"),
        ({"mode": "Block"}, "ClaimDiffers"),
        ({"storage_class": "other"}, "ClaimDiffers"),
        ({"terminating": True}, "ClaimTerminating"),
        ({"bound": False, "selected_node": "n"}, "Provisioning"),
    ],
)
def test_what_a_claim_says(change: dict[str, object], reason: str) -> None:
    assert claim_plan.plan(WISH, _claim(**change), CLASS, NOW).verdict.reason == reason


def test_a_class_that_forbids_growth_is_said() -> None:
    plan = claim_plan.plan(
        replace(WISH, size_bytes=2 * GIB), _claim(), replace(CLASS, expandable=False), NOW
    )
    assert (plan.steps, plan.verdict.reason) == ((), "ExpansionNotAllowed")


def test_folders_are_open_to_the_namespaces_named() -> None:
    document = {
        "folders": [
            {"name": "all", "path": "/srv/all"},
            {"name": "one", "path": "/srv/one", "namespaces": ["bank"]},
        ]
    }
    entries = repository_plan.parse_folders(document)
    assert repository_plan.allowed_folder(entries, "all", "shop").path == "/srv/all"
    assert repository_plan.allowed_folder(entries, "one", "bank").path == "/srv/one"
    for name in ("one", "/etc", "../all", ""):
        with pytest.raises(errors.PermissionDenied):
            repository_plan.allowed_folder(entries, name, "shop")


def _listed(**changes: object) -> object:
    return {"folders": [{"name": "all", "path": "/srv/all"} | changes]}


@pytest.mark.parametrize(
    "document",
    [
        3,
        "x",
        {"folders": [{}]},
        {"folders": 3},
        {"folders": [3]},
        {"folder": []},
        _listed(namespace=["bank"]),  # misspelt, it would open the folder to everybody
        _listed(namespaces="bank"),
        _listed(namespaces=None),
        _listed(namespaces=[7]),
        _listed(name=7),
        _listed(path="relative"),
        _listed(path="/srv/../etc"),
        _listed(path=None),
    ],
)
def test_a_broken_list_of_folders_is_said(document: object) -> None:
    with pytest.raises(errors.PreconditionFailed, match="mooring-config"):
        repository_plan.parse_folders(document)


_REPOSITORY = repository_plan.Observed(
    wanted="1",
    probed=None,
    ready=False,
    checked_at=None,
    probe=movers.ABSENT,
    probe_of=None,
    probe_started_at=None,
    key_advice="make a key",
    recovery=recovery_slots.Wish("shop", "main"),
)


@pytest.mark.parametrize(
    ("change", "action"),
    [
        ({}, repository_plan.Action.PROBE),
        ({"probed": "1", "ready": True, "checked_at": NOW}, repository_plan.Action.WAIT),
        (
            {"probed": "1", "ready": True, "checked_at": NOW - timedelta(hours=1)},
            repository_plan.Action.PROBE,
        ),
        (
            {"probed": "1", "checked_at": NOW - timedelta(seconds=60)},
            repository_plan.Action.PROBE,
        ),
        ({"probed": "0", "ready": True, "checked_at": NOW}, repository_plan.Action.PROBE),
        ({"probe": Mover(MoverState.RUNNING), "probe_of": "0"}, repository_plan.Action.CLEAR),
        ({"probe": Mover(MoverState.LEAVING), "probe_of": "1"}, repository_plan.Action.WAIT),
    ],
)
def test_when_a_repository_is_looked_at(
    change: dict[str, object], action: repository_plan.Action
) -> None:
    seen = replace(_REPOSITORY, **change)  # type: ignore[arg-type]
    assert repository_plan.decide(seen, NOW).action is action


def test_a_missing_key_says_how_to_make_one() -> None:
    message = 'FailedMount: MountVolume.SetUp failed for volume "key" : secret "k" not found'
    seen = replace(
        _REPOSITORY,
        probe=Mover(MoverState.PENDING, message=message),
        probe_of="1",
        probe_started_at=NOW - timedelta(minutes=1),
    )
    verdict = repository_plan.decide(seen, NOW).verdict
    assert verdict is not None
    assert (verdict.reason, verdict.message) == ("KeyMissing", "make a key")


def test_missing_credentials_of_a_bucket_are_told() -> None:
    message = (
        'FailedMount: MountVolume.SetUp failed for volume "credentials" : secret "s" not found'
    )
    seen = replace(
        _REPOSITORY,
        probe=Mover(MoverState.PENDING, message=message),
        probe_of="1",
        probe_started_at=NOW - timedelta(minutes=1),
    )
    verdict = repository_plan.decide(seen, NOW).verdict
    assert verdict is not None
    assert verdict.reason == "CredentialsMissing"
    assert 'secret "s" not found' in verdict.message


def _node(name: str, free: int | None, **labels: str) -> placement_plan.Candidate:
    return placement_plan.Candidate(ids.NodeName(name), labels, True, free)


def test_the_roomiest_node_with_the_labels_wins() -> None:
    nodes = [_node("a", 9 * GIB, disk="ssd"), _node("b", 3 * GIB, disk="ssd"), _node("c", 99 * GIB)]
    choice = placement_plan.choose(placement_plan.Wish(selector={"disk": "ssd"}), nodes, GIB)
    assert choice.node == "a"
    with pytest.raises(errors.SpaceExhausted, match="a has room for"):
        placement_plan.choose(placement_plan.Wish(selector={"disk": "ssd"}), nodes, 10 * GIB)


@pytest.mark.parametrize(
    ("node", "said"),
    [
        (_node("a", None), "node a has no Mooring agent with a healthy pool, see kubectl -n"),
        (replace(_node("a", GIB), ready=False), "a is not ready, see kubectl describe node a"),
    ],
)
def test_a_node_that_cannot_serve_is_said(node: placement_plan.Candidate, said: str) -> None:
    with pytest.raises(errors.PreconditionFailed, match=said):
        placement_plan.choose(placement_plan.Wish(node=ids.NodeName("a")), [node], 1)


def test_of_nodes_that_cannot_serve_each_is_said_and_why() -> None:
    nodes = [replace(_node(name, GIB), ready=False) for name in "ab"]
    nodes.append(_node("c", None))
    with pytest.raises(errors.PreconditionFailed) as refused:
        placement_plan.choose(placement_plan.Wish(selector={}), nodes, 1)
    for part in ("node a, b is not ready", "describe node a.", "node c has no", "spec.placement"):
        assert part.strip(".") in str(refused.value)


def _holder(**more: object) -> claim_holders.Holder:
    return replace(claim_holders.Holder("db-0", "node-1"), **more)  # type: ignore[arg-type]


SILENT = {"node_state": claim_holders.NodeState.SILENT, "ending": True, "overdue": True}


@pytest.mark.parametrize(
    ("holders", "finalizers", "reason", "said"),
    [
        ([{}], [], "InUse", "kubectl delete pod db-0 -n shop"),
        ([SILENT], [], "NodeUnreachable", "kubectl delete pod db-0 -n shop --force"),
        ([SILENT], [], "NodeUnreachable", "kubectl taint node node-1 node.kubernetes.io/out-of"),
        ([{"pod": "a"}, SILENT], [], "NodeUnreachable", "kubectl delete pod db-0 -n shop"),
        ([{"ending": True}], [], "InUse", "waits for pods to end: db-0"),
        (
            [{"ending": True, "overdue": True, "finalizers": ["x.io/y"]}],
            [],
            "HeldByFinalizer",
            "kubectl patch pod db-0 -n shop",
        ),
        ([], ["kubernetes.io/pvc-protection", "x.io/y"], "HeldByFinalizer", "kept by x.io/y"),
    ],
)
def test_what_holds_a_claim_is_named_with_what_frees_it(
    holders: list[dict[str, object]], finalizers: list[str], reason: str, said: str
) -> None:
    found = claim_holders.hold_on("shop", "data", [_holder(**one) for one in holders], finalizers)
    assert found is not None
    assert found.reason == reason
    assert said in found.message


def test_a_pod_on_a_node_that_may_still_run_is_never_said_to_be_safe_to_remove() -> None:
    found = claim_holders.hold_on("shop", "data", [_holder(**SILENT)], [])
    assert found is not None
    assert found.message.index("surely switched off") < found.message.index("--force")
