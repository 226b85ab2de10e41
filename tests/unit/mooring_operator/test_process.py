"""The operator's furniture: queue, workers, Lease, health, watching, statuses."""

import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from mooring.api import keys
from mooring.domain import errors, ids
from mooring.planning import verdicts
from mooring.ports import cluster
from mooring_operator import fencing, statuses, watching
from mooring_operator.health import HealthServer
from mooring_operator.leadership import LEASE_SECONDS, Holder, Leadership
from mooring_operator.work_queue import (
    MAXIMUM_BACKOFF_SECONDS,
    MAXIMUM_TRANSIENT_BACKOFF_SECONDS,
    Key,
    WorkQueue,
)
from mooring_operator.workers import Workers
from support.fake_cluster import FakeCluster
from support.fake_nodes import FakeNode, FakeNodes

KEY = Key("Backup", "shop", "one")
OTHER = Key("Backup", "shop", "two")


class Ticks:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_many_events_for_one_object_are_one_look() -> None:
    queue = WorkQueue(Ticks())
    for _ in range(5):
        queue.add(KEY)
    assert queue.take() == KEY
    queue.done(KEY, None)
    assert queue.waiting() == 0


def test_an_event_during_work_brings_the_object_back_afterwards() -> None:
    queue = WorkQueue(Ticks())
    queue.add(KEY)
    assert queue.take() == KEY
    queue.add(KEY)
    queue.add(OTHER)
    assert queue.take() == OTHER, "the one at work is not given to a second thread"
    queue.done(KEY, None)
    assert queue.take() == KEY


def test_of_two_times_the_earlier_counts() -> None:
    ticks = Ticks()
    queue = WorkQueue(ticks)
    queue.add(KEY, 60)
    queue.add(KEY, 5)
    queue.add(KEY, 30)
    ticks.seconds += 6
    assert queue.take() == KEY
    queue.done(KEY, None)
    assert queue.waiting() == 0


def test_failures_back_off_and_success_forgets_them() -> None:
    queue = WorkQueue(Ticks())
    pauses = []
    for _ in range(9):
        pauses.append(queue.failed(KEY))
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert queue.failed(KEY, MAXIMUM_TRANSIENT_BACKOFF_SECONDS) == 10
    queue.done(KEY, None)
    assert queue.failed(KEY) == 1


def test_stopping_wakes_everybody() -> None:
    queue = WorkQueue()
    taken: list[Key | None] = []
    thread = threading.Thread(target=lambda: taken.append(queue.take()))
    thread.start()
    queue.stop()
    thread.join(timeout=5)
    assert taken == [None]


def test_one_poison_object_costs_nobody_else_anything() -> None:
    queue = WorkQueue()
    seen = []

    def reconcile(key: Key) -> float | None:
        if key == KEY:
            raise ZeroDivisionError
        seen.append(key)
        return None

    workers = Workers(queue, {"Backup": reconcile}, lambda: True, 2)
    queue.add(KEY)
    queue.add(OTHER)
    workers.start()
    for _ in range(100):
        if seen:
            break
        threading.Event().wait(0.02)
    assert seen == [OTHER]
    assert workers.alive()
    workers.stop()


END = Key("End", "", "")


def _second(workers: Workers, queue: WorkQueue, ticks: Ticks) -> None:
    """Does, on one thread, all that is due now; a key that names itself meanwhile has to wait."""
    queue.add(END)
    while (key := queue.take()) not in (None, END):
        assert key is not None
        workers.work(key)
    queue.done(END, None)
    ticks.seconds += 1


@pytest.mark.parametrize(
    "poison",
    [
        pytest.param(ZeroDivisionError("a bug"), id="bug"),
        pytest.param(errors.DataCorrupt("nobody can read it"), id="for good"),
        pytest.param(errors.Unreachable("nobody answers"), id="transient"),
    ],
)
@pytest.mark.parametrize("named_by_itself", [False, True])
def test_many_poison_objects_take_no_turn_of_others(
    poison: Exception, named_by_itself: bool
) -> None:
    """Also of one thread, and also where each writes to itself before it fails."""
    ticks = Ticks()
    queue = WorkQueue(ticks)
    bad = [Key("Backup", "n", f"poison-{number}") for number in range(20)]
    good = [Key("Backup", "n", f"good-{number}") for number in range(3)]
    tries: Counter[Key] = Counter()
    looks: list[tuple[Key, float]] = []

    def reconcile(key: Key) -> float | None:
        if key in good:
            looks.append((key, ticks.seconds))
            return 30.0
        tries[key] += 1
        if named_by_itself:
            queue.add(key)
        raise poison

    workers = Workers(queue, {"Backup": reconcile}, lambda: True, 1)
    for key in (*bad, *good):
        queue.add(key)
    began = ticks.seconds
    with structlog.testing.capture_logs():  # thousands of tracebacks are slow to draw
        for _ in range(600):
            _second(workers, queue, ticks)
    assert sorted(looks, key=lambda look: look[1]) == [
        (key, began + 30 * number) for number in range(20) for key in good
    ]
    if not named_by_itself:
        longest = MAXIMUM_BACKOFF_SECONDS
        if isinstance(poison, errors.Unreachable):
            longest = MAXIMUM_TRANSIENT_BACKOFF_SECONDS
        assert max(tries.values()) <= 7 + 600 / longest
    assert set(tries) == set(bad)


def test_an_operator_that_is_not_active_acts_on_nothing() -> None:
    def reconcile(_: Key) -> float | None:
        raise AssertionError("it acted")

    queue = WorkQueue(Ticks())
    workers = Workers(queue, {"Backup": reconcile}, lambda: False, 1)
    queue.add(KEY)
    taken = queue.take()
    assert taken is not None
    workers.work(taken)
    assert queue.waiting() == 1


def test_an_operator_that_stops_being_active_in_the_middle_changes_nothing_more() -> None:
    active = True
    objects = FakeCluster()
    fenced = fencing.FencedObjects(objects, lambda: active)
    nodes = fencing.FencedNodes(FakeNodes(FakeNode("a")), lambda: active)
    body = {"metadata": {"name": "one", "namespace": "shop"}}
    made = fenced.create(cluster.CONFIG_MAPS, body)
    active = False
    for act in (
        lambda: fenced.create(
            cluster.CONFIG_MAPS, {"metadata": body["metadata"] | {"name": "two"}}
        ),
        lambda: fenced.patch(cluster.CONFIG_MAPS, "one", {"data": {}}, "shop"),
        lambda: fenced.replace(cluster.CONFIG_MAPS, made),
        lambda: fenced.delete(cluster.CONFIG_MAPS, "one", "shop"),
        lambda: nodes.storage(ids.NodeName("a")),
    ):
        with pytest.raises(errors.Busy):
            act()
    assert fenced.find(cluster.CONFIG_MAPS) == [made]


class TestLeadership:
    """Two processes and one Lease."""

    @pytest.fixture
    def ticks(self) -> Ticks:
        return Ticks()

    @pytest.fixture
    def objects(self) -> FakeCluster:
        return FakeCluster()

    def test_one_of_two_is_active(self, objects: FakeCluster, ticks: Ticks) -> None:
        first = Leadership(objects, Holder("a"), monotonic=ticks)
        second = Leadership(objects, Holder("b"), monotonic=ticks)
        assert first.renew()
        assert not second.renew()
        assert (first.may_act(), second.may_act()) == (True, False)

    def test_a_frozen_holder_has_stopped_before_another_begins(
        self, objects: FakeCluster, ticks: Ticks
    ) -> None:
        first = Leadership(objects, Holder("a"), monotonic=ticks)
        second = Leadership(objects, Holder("b"), monotonic=ticks)
        first.renew()
        second.renew()
        while not second.renew():
            ticks.seconds += 1
            assert not (first.may_act() and second.may_act())
        assert not first.may_act()
        assert ticks.seconds - 100 >= LEASE_SECONDS
        assert not first.renew()
        assert first.lost

    def test_a_holder_that_ends_in_order_is_followed_at_once(
        self, objects: FakeCluster, ticks: Ticks
    ) -> None:
        first = Leadership(objects, Holder("a"), monotonic=ticks)
        first.renew()
        first.stop()
        assert not first.may_act()
        assert Leadership(objects, Holder("b"), monotonic=ticks).renew()

    def test_a_dead_predecessor_of_the_same_pod_is_followed_at_once(
        self, objects: FakeCluster, ticks: Ticks
    ) -> None:
        first = Leadership(objects, Holder("pod/uid/a", dead="pod/uid/"), monotonic=ticks)
        assert first.renew()
        elsewhere = Leadership(objects, Holder("pod/uid2/b", dead="pod/uid2/"), monotonic=ticks)
        unknowing = Leadership(objects, Holder("pod/c"), monotonic=ticks)
        assert not elsewhere.renew()
        assert not unknowing.renew()
        assert Leadership(objects, Holder("pod/uid/d", dead="pod/uid/"), monotonic=ticks).renew()

    def test_an_api_server_that_is_away_ends_activity_in_time(
        self, objects: FakeCluster, ticks: Ticks
    ) -> None:
        first = Leadership(objects, Holder("a"), monotonic=ticks)
        first.renew()
        objects.fail = lambda _: errors.Unreachable("away")
        ticks.seconds += LEASE_SECONDS - 1
        with pytest.raises(errors.Unreachable):
            first.renew()
        assert not first.may_act()
        objects.fail = lambda _: None
        assert first.renew()

    def test_two_that_are_equally_quick_do_not_both_win(
        self, objects: FakeCluster, ticks: Ticks
    ) -> None:
        leaders = [Leadership(objects, Holder(name), monotonic=ticks) for name in "abcdef"]
        assert sum(leader.renew() for leader in leaders) == 1
        lease = objects.must_get(cluster.LEASES, keys.OPERATOR_LEASE, keys.NAMESPACE)
        assert lease["spec"]["holderIdentity"] == "a"

    def test_a_lease_without_a_spec_is_taken(self, objects: FakeCluster, ticks: Ticks) -> None:
        objects.create(
            cluster.LEASES, {"metadata": {"name": keys.OPERATOR_LEASE, "namespace": keys.NAMESPACE}}
        )
        first = Leadership(objects, Holder("a"), monotonic=ticks)
        assert first.renew()
        first.stop()
        assert Leadership(objects, Holder("b"), monotonic=ticks).renew()

    def test_any_fault_is_outlived(self, objects: FakeCluster) -> None:
        faults: list[Exception] = [ValueError("no JSON"), OSError("no token")]

        def fail(_: object) -> Exception | None:
            return faults.pop() if faults else None

        objects.fail = fail
        first = Leadership(objects, Holder("a"))
        first.start()
        try:
            _wait_until(first.may_act)
            assert not faults
            assert first.alive()
        finally:
            first.stop()
        assert not first.alive()

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_one_whose_thread_ended_is_not_alive(self, objects: FakeCluster) -> None:
        objects.fail = lambda _: KeyboardInterrupt()  # ends the thread
        first = Leadership(objects, Holder("a"))
        first.start()
        _wait_until(lambda: not first.alive())


def _wait_until(true: Callable[[], bool]) -> None:
    limit = time.monotonic() + 10
    while not true():
        assert time.monotonic() < limit, "it did not come about"
        time.sleep(0.02)


@pytest.mark.parametrize(("path", "code"), [("/healthz", 200), ("/readyz", 503), ("/x", 404)])
def test_health_is_told_over_http(path: str, code: int) -> None:
    server = HealthServer("127.0.0.1:0", lambda: True, lambda: False)
    server.start()
    try:
        url = f"http://127.0.0.1:{server.port}{path}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                found = answer.status
        except urllib.error.HTTPError as error:
            found = error.code
            error.close()
        assert found == code
    finally:
        server.stop()


def test_a_claim_names_all_who_care() -> None:
    reference = {"apiGroup": keys.GROUP, "kind": "Restore", "name": "back"}
    labels = {keys.VOLUME_CLAIM: "data"}
    claim = {
        "metadata": {"name": "data", "namespace": "shop", "labels": labels},
        "spec": {"dataSourceRef": reference},
    }
    assert watching.keys_of_claim(claim) == [
        Key("VolumeClaim", "shop", "data"),
        Key("ClaimToFill", "shop", "data"),
        Key("Restore", "shop", "back"),
    ]
    assert watching.keys_of_claim({"metadata": {"name": "x", "namespace": "y"}, "spec": {}}) == []


_json = st.recursive(
    st.integers() | st.text(max_size=3) | st.booleans(),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), inner) | st.lists(inner, max_size=2),
    max_leaves=8,
)
_object = st.dictionaries(st.sampled_from("abcd"), _json)


@given(_object, _object)
def test_a_patch_leads_from_one_status_to_the_other(
    present: dict[str, object], wanted: dict[str, object]
) -> None:
    objects = FakeCluster()
    objects.create(cluster.JOBS, {"metadata": {"name": "x", "namespace": "y"}})
    objects.set_status(cluster.JOBS, "x", "y", present)
    patch = statuses.changes(present, wanted)
    assert bool(patch) is (present != wanted)
    changed = objects.patch(cluster.JOBS, "x", {"status": patch}, "y", status=True)
    assert changed["status"] == wanted


@given(st.sampled_from(verdicts.Outcome), st.sampled_from(["Ready", "Succeeded"]))
def test_conditions_speak_kstatus(outcome: verdicts.Outcome, main: str) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    obj = {"metadata": {"generation": 3}}
    verdict = verdicts.Verdict(outcome, "Word", "x")
    found = {c["type"]: c for c in statuses.conditions(main, verdict, obj, moment)}
    assert all(entry["observedGeneration"] == 3 for entry in found.values())
    done = found[main]["status"] == "True"
    abnormal = [found[name]["status"] == "True" for name in ("Reconciling", "Stalled")]
    assert sum([done, *abnormal]) == 1
