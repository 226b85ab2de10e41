"""`mooring backup-now` against a cluster in memory."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from mooring.api import keys
from mooring.domain import errors
from mooring_cli import compose
from mooring_operator import resources
from support.fake_cluster import FakeCluster

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def objects(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    objects = FakeCluster()
    metadata = {"name": "nightly", "namespace": "shop"}
    objects.create(resources.BACKUP_SCHEDULES, {"metadata": metadata, "spec": {}})
    monkeypatch.setattr(compose, "open_cluster", lambda *_: objects)
    return objects


def schedule(objects: FakeCluster) -> dict[str, Any]:
    return objects.must_get(resources.BACKUP_SCHEDULES, "nightly", "shop")


def begun(objects: FakeCluster, *runs: str) -> None:
    status = {"askedRuns": list(runs)}
    objects.set_status(resources.BACKUP_SCHEDULES, "nightly", "shop", status)


def test_it_asks_under_a_name_of_its_own_and_says_how_to_watch(
    mooring: Run, objects: FakeCluster
) -> None:
    code, out, _ = mooring("backup-now", "shop/nightly")
    assert code == 0
    run = schedule(objects)["metadata"]["annotations"][keys.RUN_NOW]
    assert run.startswith("now-")
    assert f"kubectl get backups -n shop -l mooring.dev/run={run} -w" in out


def test_the_same_name_asks_once(mooring: Run, objects: FakeCluster) -> None:
    words = ("backup-now", "shop/nightly", "--run", "before-upgrade", "-o", "json")
    assert json.loads(mooring(*words)[1])["state"] == "asked for"
    before = schedule(objects)
    assert "nothing more is made" in mooring(*words)[1]
    begun(objects, "before-upgrade", "later")
    change = {"metadata": {"annotations": {keys.RUN_NOW: "later"}}}
    objects.patch(resources.BACKUP_SCHEDULES, "nightly", change, "shop")
    assert "nothing more is made" in mooring(*words)[1]
    assert before["metadata"]["annotations"] == {keys.RUN_NOW: "before-upgrade"}
    assert schedule(objects)["metadata"]["annotations"] == {keys.RUN_NOW: "later"}


def test_a_run_that_waits_is_not_written_over(mooring: Run, objects: FakeCluster) -> None:
    assert mooring("backup-now", "shop/nightly", "--run", "first")[0] == 0
    code, _, err = mooring("backup-now", "shop/nightly", "--run", "second")
    assert code == 10
    assert "'first' was asked for and has not begun yet" in err
    begun(objects, "first")
    assert mooring("backup-now", "shop/nightly", "--run", "second")[0] == 0
    change = {"metadata": {"annotations": {keys.RUN_NOW: "no name"}}}
    objects.patch(resources.BACKUP_SCHEDULES, "nightly", change, "shop")
    assert mooring("backup-now", "shop/nightly", "--run", "third")[0] == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("nightly",), 2, "write namespace/name"),
        (("shop/nightly", "--run", "a b"), 2, "no name of a run"),
        (("shop/weekly",), 3, "try: kubectl get backupschedules -A"),
    ],
)
def test_what_cannot_be_says_why_and_changes_nothing(
    mooring: Run, objects: FakeCluster, words: tuple[str, ...], code: int, said: str
) -> None:
    before = schedule(objects)
    found, _, err = mooring("backup-now", *words)
    assert found == code
    assert said in err
    assert schedule(objects) == before


def test_a_change_in_between_is_no_loss(mooring: Run, objects: FakeCluster) -> None:
    objects.fail = lambda call: errors.Busy("it changed") if call.startswith("patch") else None
    assert mooring("backup-now", "shop/nightly")[0] == 10
