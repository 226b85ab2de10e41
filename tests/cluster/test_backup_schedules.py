"""A BackupSchedule on a real Kubernetes: its own run, one asked for, and what retention leaves."""

import json
from typing import Any

import pytest

from support.shop import Shop

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


def _backups(shop: Shop) -> list[dict[str, Any]]:
    selector = "mooring.dev/backup-schedule=nightly"
    found: list[dict[str, Any]] = shop.kubectl.json(
        "get", "backups", "-n", shop.namespace, "-l", selector
    )["items"]
    return found


def _ask(shop: Shop, run: str) -> None:
    note = f"mooring.dev/run-now={run}"
    shop.kubectl.run("annotate", "bks", "nightly", "-n", shop.namespace, "--overwrite", note)


def _ended(shop: Shop, run: str) -> Any:
    last = shop.get("bks", "nightly").get("status", {}).get("lastRun", {})
    return last if last.get("name") == run and last.get("outcome") != "Running" else None


def test_runs_when_asked_and_in_time_and_keeps_what_it_shall(shop: Shop) -> None:
    shop.filled(megabytes=4)
    shop.until_condition("backuprepository", "main", "Ready", "True")
    spec = {
        "schedule": "0 0 1 1 *",
        "claims": {"all": True},
        "repositoryName": "main",
        "retention": {"last": 1},
    }
    shop.create("BackupSchedule", "nightly", spec)
    shop.until_condition("bks", "nightly", "Ready", "True")
    assert shop.get("bks", "nightly")["status"]["selectedClaims"] == 1
    assert _backups(shop) == []
    _ask(shop, "first")
    assert shop.until("the run", lambda: _ended(shop, "first"))["outcome"] == "Succeeded"
    (first,) = _backups(shop)
    _ask(shop, "first")
    patch = json.dumps({"spec": {"schedule": "* * * * *"}})
    shop.kubectl.run("patch", "bks", "nightly", "-n", shop.namespace, "--type=merge", "-p", patch)

    def replaced() -> bool:
        names = {backup["metadata"]["name"] for backup in _backups(shop)}
        return bool(names) and first["metadata"]["name"] not in names

    shop.until("a run of its own in the place of the first", replaced)
    patch = json.dumps({"spec": {"suspend": True}})
    shop.kubectl.run("patch", "bks", "nightly", "-n", shop.namespace, "--type=merge", "-p", patch)
    assert first["status"]["backupId"] not in shop.manifests()
    assert shop.until_condition("volumeclaim", "data", "Protected", "True")["reason"] == "HasBackup"
    shop.delete("bks", "nightly")
    assert _backups(shop), "deleting the schedule deletes no Backup"
