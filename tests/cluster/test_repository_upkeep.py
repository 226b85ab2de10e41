"""A repository that is pruned and checked by the operator, at the times that it says."""

import json
from functools import partial
from typing import Any

import pytest

from support.shop import Shop

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

EVERY_MINUTE = "* * * * *"


def _succeeded(shop: Shop, task: str) -> dict[str, Any] | None:
    found = shop.get("backuprepository", "main").get("status", {}).get(task) or {}
    return found if found.get("lastSuccessfulTime") else None


def test_it_is_pruned_and_checked_in_time(shop: Shop) -> None:
    shop.filled(megabytes=4)
    shop.until_condition("backuprepository", "main", "Ready", "True")
    backup_id = shop.backed_up()["backupId"]
    upkeep = {"prune": {"schedule": EVERY_MINUTE}, "check": {"schedule": EVERY_MINUTE, "parts": 1}}
    patch = json.dumps({"spec": upkeep})
    which = ("backuprepository", "main", "-n", shop.namespace)
    shop.kubectl.run("patch", *which, "--type=merge", "-p", patch)
    for task in upkeep:
        found = shop.until(f"its {task}", partial(_succeeded, shop, task))
        assert found["lastRun"]["outcome"] != "Failed", found  # the next one may run already
    status = shop.get("backuprepository", "main")["status"]
    assert status["sizeBytes"] > 4 << 20
    # What is whole and needed was neither freed nor called damaged.
    assert backup_id in shop.manifests()
    patch = json.dumps({"spec": {"prune": None, "check": None}})
    shop.kubectl.run("patch", *which, "--type=merge", "-p", patch)
