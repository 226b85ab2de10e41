"""`mooring recover` on an empty cluster whose repository holds backups; the operator is at work."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from mooring.api import keys
from mooring.domain import errors
from mooring.ports import cluster
from mooring.volumes.fleet.recovery import Recovery
from mooring_cli import compose
from mooring_operator import resources, statuses
from support.operator_world import GIB, NAMESPACE, OperatorWorld

Run = Callable[..., tuple[int, str, str]]
SELECTED = {keys.SELECTED_NODE: "node-1"}


def held(number: int, claim: str = "data", **changes: Any) -> dict[str, Any]:
    """What the repository says of one backup; later numbers are newer."""
    spec = {
        "storageClassName": "mooring",
        "accessModes": ["ReadWriteOncePod"],
        "resources": {"requests": {"storage": "1Gi"}},
        "volumeName": "pvc-of-the-lost-cluster",
        "dataSourceRef": {"kind": "Other", "name": "x"},
    }
    labels = {"app": "pg", keys.OWNER_UID: "of-the-lost-cluster"}
    documents = {
        "persistentVolumeClaim": {
            "metadata": {"name": claim, "namespace": NAMESPACE, "labels": labels},
            "spec": spec,
        },
        "backup": {"metadata": {"name": f"{claim}-{number}"}},
    }
    return {
        "backupId": f"bk-{number:03}",
        "volumeUid": f"vol-{claim}",
        "claimName": claim,
        "namespace": NAMESPACE,
        "volumeMode": "Filesystem",
        "storageClassName": "mooring",
        "filesystem": "ext4",
        "sectorSizeBytes": 4096,
        "consistency": "Filesystem",
        "pointInTime": f"2026-01-01T00:{number:02}:00+00:00",
        "finishedAt": f"2026-01-01T01:{number:02}:00+00:00",
        "bytesTotal": GIB,
        "bytesRead": 5,
        "bytesSent": 4,
        "bytesStored": 3,
        "manifests": documents,
        **changes,
    }


def with_volume_claim(number: int, **spec: Any) -> dict[str, Any]:
    entry = held(number, "pg")
    documents = entry["manifests"]
    documents["persistentVolumeClaim"]["metadata"]["labels"][keys.VOLUME_CLAIM] = "pg"
    documents["volumeClaim"] = {
        "metadata": {"name": "pg", "namespace": NAMESPACE, "labels": {"team": "a"}},
        "spec": {"size": "1Gi", "storageClassName": "mooring", "accessMode": "ReadWriteOncePod",
                 "deletionPolicy": "Delete", **spec},
    }  # fmt: skip
    return entry


class Disaster:
    """A new cluster with a repository of the lost one, and somebody at a terminal."""

    def __init__(self, mooring: Run) -> None:
        self.world = OperatorWorld()
        self._mooring = mooring

    def applied(self, *entries: dict[str, Any]) -> None:
        self.world.held = list(entries)
        self.world.mover_answers["probe"] |= {"backups": len(entries)}
        self.world.make_repository()
        self.world.settle(14)

    def recovery(self, *_: object) -> Recovery:
        seconds = iter(range(0, 10_000_000, 60))

        def sleep(_: float) -> None:
            self.world.settle(1)

        return Recovery(self.world.cluster, sleep, lambda: float(next(seconds)))

    def run(self, *words: str) -> tuple[int, str, str]:
        return self._mooring("recover", "-n", NAMESPACE, *words)

    def json(self, *words: str) -> dict[str, dict[str, Any]]:
        code, out, err = self.run(*words, "-o", "json")
        assert code == 0, err
        return {row["claim"]: row for row in json.loads(out)}

    def claim(self, name: str) -> cluster.Object:
        return self.world.cluster.must_get(cluster.CLAIMS, name, NAMESPACE)

    def claims(self) -> list[str]:
        own = [c["metadata"]["name"] for c in self.world.cluster.find(cluster.CLAIMS, NAMESPACE)]
        return [name for name in own if not name.startswith("mooring-")]


@pytest.fixture
def disaster(mooring: Run, monkeypatch: pytest.MonkeyPatch) -> Disaster:
    disaster = Disaster(mooring)
    monkeypatch.setattr(compose, "open_recovery", disaster.recovery)
    return disaster


def test_without_yes_the_plan_is_shown_and_nothing_changes(disaster: Disaster) -> None:
    disaster.applied(held(1), held(3), held(2), held(4, "logs"))
    plan = disaster.json()
    assert {name: row["backup"] for name, row in plan.items()} == {
        "data": "data-3",
        "logs": "logs-4",
    }
    assert {row["action"] for row in plan.values()} == {"restore"}
    code, out, _ = disaster.run()
    assert (code, "nothing was changed" in out) == (0, True)
    assert disaster.claims() == []
    assert disaster.world.cluster.names(resources.RESTORES) == []


def test_each_claim_comes_back_from_its_newest_backup(disaster: Disaster) -> None:
    disaster.applied(held(1), held(2), held(3, "logs"))
    code, _, err = disaster.run("--yes", "--now")
    assert code == 0, err
    assert "data: whole again" in err
    for name, backup_id in (("data", "bk-002"), ("logs", "bk-003")):
        claim = disaster.claim(name)
        assert claim["status"]["phase"] == "Bound"
        assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]
        assert claim["metadata"]["labels"]["app"] == "pg"
        assert keys.OWNER_UID not in claim["metadata"]["labels"]
        assert claim["spec"]["volumeName"] != "pvc-of-the-lost-cluster"
        status = disaster.world.status(resources.RESTORES, f"recover-{name}")
        assert status["backupId"] == backup_id


def test_it_can_be_said_again_and_again(disaster: Disaster) -> None:
    disaster.applied(held(1))
    disaster.json("--yes", "--now")
    uid = disaster.claim("data")["metadata"]["uid"]
    again = disaster.json("--yes", "--now")
    assert again["data"]["action"] == "continue"
    assert disaster.claim("data")["metadata"]["uid"] == uid
    assert disaster.world.cluster.names(resources.RESTORES) == ["recover-data"]


def test_a_run_that_is_killed_at_any_call_is_finished_by_the_next(disaster: Disaster) -> None:
    disaster.applied(with_volume_claim(1), held(2))
    for calls in range(40):
        left = [calls]

        def killed(_: str, left: list[int] = left) -> errors.MooringError | None:
            left[0] -= 1
            return errors.Unreachable("killed here") if left[0] < 0 else None

        disaster.world.cluster.fail = killed
        disaster.run("--yes")
        disaster.world.cluster.fail = lambda _: None
    assert disaster.run("--yes")[0] == 0
    for name in ("data", "pg"):
        change = {"metadata": {"annotations": SELECTED}}
        disaster.world.cluster.patch(cluster.CLAIMS, name, change, NAMESPACE)
    disaster.world.settle()
    assert disaster.claims() == ["data", "pg"]
    for name in ("data", "pg"):
        assert disaster.claim(name)["status"]["phase"] == "Bound"
    assert disaster.world.cluster.names(resources.VOLUME_CLAIMS) == ["pg"]


def test_without_now_the_first_pod_decides_where(disaster: Disaster) -> None:
    disaster.applied(held(1))
    code, out, _ = disaster.run("--yes")
    assert (code, "start the pods" in out) == (0, True)
    disaster.world.settle(6)
    assert disaster.claim("data").get("status", {}).get("phase") != "Bound"
    change = {"metadata": {"annotations": SELECTED}}
    disaster.world.cluster.patch(cluster.CLAIMS, "data", change, NAMESPACE)
    disaster.world.settle()
    assert disaster.claim("data")["status"]["phase"] == "Bound"
    assert list(disaster.world.nodes[0].volumes)


def test_a_claim_that_exists_is_never_touched(disaster: Disaster) -> None:
    disaster.world.make_volume()
    before = disaster.claim("data")
    disaster.applied(held(1), held(2, "logs"))
    plan = disaster.json("--yes", "--now")
    assert (plan["data"]["action"], plan["logs"]["action"]) == ("keep", "restore")
    after = disaster.claim("data")
    assert (after["metadata"]["uid"], after["spec"]) == (before["metadata"]["uid"], before["spec"])
    assert disaster.world.cluster.names(resources.RESTORES) == ["recover-logs"]


def test_a_volume_claim_comes_back_and_has_its_claim(disaster: Disaster) -> None:
    disaster.applied(with_volume_claim(1, placement={"node": "of-the-lost-cluster"}, size="2Gi"))
    disaster.json("--yes", "--now")
    disaster.world.settle(6)
    wrapped = disaster.world.cluster.must_get(resources.VOLUME_CLAIMS, "pg", NAMESPACE)
    assert "placement" not in wrapped["spec"]
    assert "source" not in wrapped["spec"]
    assert wrapped["spec"]["deletionPolicy"] == "Delete"
    assert wrapped["metadata"]["labels"] == {"team": "a"}
    ready = statuses.condition(wrapped, "Ready")
    assert ready["reason"] in ("Bound", "Ready", "Growing"), ready
    labels = disaster.claim("pg")["metadata"]["labels"]
    assert labels[keys.OWNER_UID] == wrapped["metadata"]["uid"]


@pytest.mark.parametrize(
    ("words", "chosen", "note"),
    [
        ((), "mooring", "StorageClass fast is missing: mooring is used"),
        (("--storage-class", "fast=slow"), "slow", "slow instead of fast"),
    ],
)
def test_a_class_that_is_missing_is_replaced_and_said(
    disaster: Disaster, words: tuple[str, ...], chosen: str, note: str
) -> None:
    slow = {"metadata": {"name": "slow"}, "provisioner": keys.DRIVER, "parameters": {}}
    disaster.world.cluster.create(cluster.STORAGE_CLASSES, slow)
    disaster.applied(held(1, storageClassName="fast"))
    row = disaster.json(*words)["data"]
    assert row["storageClass"] == chosen
    assert note in row["note"]
    disaster.json(*words, "--yes", "--now")
    assert disaster.claim("data")["spec"]["storageClassName"] == chosen


def test_without_any_class_it_says_what_to_do(disaster: Disaster) -> None:
    disaster.applied(held(1, storageClassName="fast"))
    disaster.world.cluster.delete(cluster.STORAGE_CLASSES, "mooring")
    row = disaster.json("--yes")["data"]
    assert (row["action"], row["restore"]) == ("refuse", None)
    assert "--storage-class fast=NEW" in row["note"]
    assert disaster.claims() == []


def test_a_restore_that_fails_is_an_exit_code(disaster: Disaster) -> None:
    disaster.applied(held(1))
    disaster.world.failing["restore"] = {"reason": "DataCorrupt", "message": "chunk 5 is damaged"}
    code, _, err = disaster.run("--yes", "--now")
    assert (code, "chunk 5 is damaged" in err) == (5, True)


def test_waiting_has_an_end(disaster: Disaster) -> None:
    disaster.applied(held(1))
    disaster.world.paused.add("restore")
    code, _, err = disaster.run("--yes", "--now", "--timeout", "9")
    assert (code, "data" in err, "go on" in err) == (10, True, True)


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("--repository", "other"), 5, "no BackupRepository other"),
        (("--storage-class", "fast"), 2, "OLD=NEW"),
        (("--storage-class", "fast=none"), 2, "'none' is missing"),
    ],
)
def test_bad_words(disaster: Disaster, words: tuple[str, ...], code: int, text: str) -> None:
    disaster.applied(held(1))
    found, _, err = disaster.run(*words, "--yes")
    assert (found, text in err) == (code, True), err
    assert disaster.claims() == []


def test_a_repository_that_is_not_listed_yet_is_waited_for_by_the_user(disaster: Disaster) -> None:
    code, _, err = disaster.run()
    assert (code, "apply it" in err) == (5, True)
    disaster.world.paused.add("list")
    disaster.applied(held(1))
    code, _, err = disaster.run("--yes")
    assert (code, "not listed yet" in err) == (5, True)
    disaster.world.failing["probe"] = {"reason": "WrongKey", "message": "this key is wrong"}
    disaster.world.apply(
        resources.BACKUP_REPOSITORIES,
        "second",
        {"directory": {"folder": "backups"}, "encryption": {"keySecretName": "k"}},
    )
    disaster.world.settle(6)
    code, _, err = disaster.run("--repository", "second")
    assert (code, "this key is wrong" in err) == (5, True)


def test_a_restore_of_an_earlier_disaster_does_not_stand_in_the_way(disaster: Disaster) -> None:
    disaster.applied(held(1))
    disaster.json("--yes", "--now")
    change = {"metadata": {"finalizers": None}}
    disaster.world.cluster.patch(cluster.CLAIMS, "data", change, NAMESPACE)
    disaster.world.cluster.delete(cluster.CLAIMS, "data", NAMESPACE)
    row = disaster.json("--yes", "--now")["data"]
    assert row["restore"] == "recover-data-2"
    assert disaster.claim("data")["status"]["phase"] == "Bound"
