"""The operator behind an API server that fails in bursts: it is late, and never wrong."""

import json
import threading
from typing import Any

import pytest

from mooring_dev.kubectl import condition
from support.faulty_api import LOST, FaultyApi
from support.operator_process import OperatorProcess
from support.shop import Shop

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
_SHARE = 0.15
_BURST_SECONDS = 2.0
_PAUSE_SECONDS = 2.0
_HUGE = "9" * 18 + "Ei"
_POINT = {"repositoryName": "main", "backupId": "nothing"}


class Bursts:
    """Failures that come and go until the end of the block."""

    def __init__(self, api: FaultyApi) -> None:
        self._api = api
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._api.share = 0.0

    def _run(self) -> None:
        while not self._over.is_set():
            self._api.share = _SHARE
            self._api.expire_watches()
            self._over.wait(_BURST_SECONDS)
            self._api.share = 0.0
            self._over.wait(_PAUSE_SECONDS)


def _poison(shop: Shop) -> None:
    """Objects that nobody can do anything with, as far as the API server lets them in."""
    target = {"claimName": "x" * 253, "storageClassName": "none", "size": _HUGE}
    stuffing = {"annotations": {"stuffing": "x" * 200_000}}
    for kind, name, spec in (
        ("VolumeClaim", "huge", {"size": _HUGE, "placement": {"node": "node1"}}),
        ("VolumeClaim", "itself", {"size": "1Gi", "source": {"volumeClaimName": "itself"}}),
        ("VolumeClaim", "nulls", {"size": "1Gi", "source": None, "nobody": {"knows": [1]}}),
        ("Restore", "nowhere", {"point": _POINT, "target": target}),
        ("Backup", "of-nothing", _backup_of("nothing") | {"startingDeadlineSeconds": 1}),
        ("Backup", "stuffed", _backup_of("nulls")),
    ):
        body = {
            "apiVersion": "mooring.dev/v1alpha1",
            "kind": kind,
            "metadata": {"name": name, "namespace": shop.namespace} | stuffing,
            "spec": spec,
        }
        shop.kubectl.run("create", "--validate=false", "-f", "-", stdin=json.dumps(body))


def _backup_of(claim: str) -> dict[str, Any]:
    return {"source": {"volumeClaimName": claim}, "repositoryName": "main"}


def test_bursts_of_failures_delay_and_break_nothing(
    operator: OperatorProcess, api: FaultyApi, shop: Shop
) -> None:
    home, other = shop.cluster.node_names
    _poison(shop)
    with Bursts(api):
        checksum = shop.filled(megabytes=16)
        names = [f"placed-{number}" for number in range(3)]
        for number, name in enumerate(names):
            shop.claim(name, (home, other)[number % 2], size="64Mi")
        for name in ("one", "two"):
            shop.backup(name)
        for name in names:
            shop.until_condition("volumeclaim", name, "Ready", "True")
        shop.until_condition("backup", "one", "Succeeded", "True")
        for name in ("first", "second"):
            target, placement = {"claimName": name}, {"node": other}
            shop.create(
                "Restore", name, {"backupName": "one", "target": target, "placement": placement}
            )
        for name in ("first", "second"):
            shop.until_condition("restore", name, "Succeeded", "True")
        shop.until_condition("backup", "two", "Succeeded", "True")
        shop.delete("backup", "two")
        shop.until("everything put away", lambda: not shop.leftovers())
    assert api.failed.keys() >= {409, 410, 429, 500, LOST}
    assert '"event": "bug"' not in operator.log()
    ids = {shop.get("backup", "one")["status"]["backupId"]}
    assert ids < set(shop.manifests())
    assert len(shop.manifests()) == 2, "a backup was made twice"
    assert len(shop.volumes()) == 6
    for name in ("first", "second"):
        shop.pod(name, name, "exec sleep 3600")
    for name in ("first", "second"):
        shop.until(name, lambda name=name: shop.running(name))  # type: ignore[misc]
        assert shop.checksum(name) == checksum
    _poison_is_named(shop)


def _poison_is_named(shop: Shop) -> None:
    reasons = {
        name: condition(shop.get("volumeclaim", name), "Ready").get("reason")
        for name in ("huge", "itself", "nulls")
    }
    assert reasons == {
        "huge": "InvalidInput",
        "itself": "SourceNotFound",
        "nulls": "WaitingForFirstPod",
    }
    assert condition(shop.get("backup", "of-nothing"), "Succeeded")["reason"] == "SourceNotFound"
    assert condition(shop.get("backup", "stuffed"), "Succeeded")["reason"] == "SourceNotBound"
    refused = condition(shop.get("restore", "nowhere"), "Succeeded")
    assert (refused["status"], refused["reason"]) == ("False", "InvalidInput")
