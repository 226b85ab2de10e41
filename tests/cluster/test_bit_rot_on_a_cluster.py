"""A disk of a real node loses a bit below a claim: found, said, held, warned of, taken as it is.

And what a Backup and a schedule say of how much is read, and how fast.
"""

import base64
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mooring_dev.cluster import lifecycle, machines
from mooring_dev.kubectl import condition
from support import bit_rot
from support.shop import Shop

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
MIB = 1 << 20
MEGABYTES = 10
PLACE = 5 * MIB
"""Where in the pod's file the bit is."""
POOL_IMAGE = "var/lib/mooring/default/pool.img"
RATE = 6 * MIB
BATCH_BYTES = 2 * MIB
"""The last bytes of a backup are read when their turn begins, and not when it ends."""


def _marked(shop: Shop, at: int) -> bytes:
    """Returns some bytes of the pod's file, by which its place in the image is found."""
    command = f"dd if=/data/file bs=64 skip={at // 64} count=1 2>/dev/null | base64 -w0"
    return base64.b64decode(shop.in_pod("writer", command))


def _flip_bit(shop: Shop, at: int) -> int:
    """Flips a bit of the pod's file in the pool's own image, below the pool's filesystem.

    Returns where in the volume it is.
    """
    (volume,) = [v for v in shop.volumes() if v["spec"]["labels"].get("claim") == "data"]
    node = lifecycle.node_named(shop.cluster.layout, volume["spec"]["node"])
    find = f"find /var/lib/mooring -path '*/images/{volume['metadata']['name']}*' -type f"
    (inside,) = shop.cluster.on_node(node.name, "sh", "-c", find).split()
    image = Path(f"/proc/{machines.node_process(node)}/root{inside}")
    content = image.read_bytes()
    marked = _marked(shop, at)
    offset = content.index(marked)
    assert content.count(marked) == 1
    bit_rot.flip_bit(image, offset, node.folder / POOL_IMAGE)
    return offset


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _events(shop: Shop, kind: str, name: str) -> list[str]:
    """Returns what warnings of a Suspect backup say of an object."""
    found = shop.kubectl.json("get", "events", "-n", shop.namespace)["items"]
    return [
        str(event["message"])
        for event in found
        if (event["involvedObject"]["kind"], event["involvedObject"]["name"]) == (kind, name)
        and (event["type"], event["reason"]) == ("Warning", "Suspect")
    ]


def _suspect_claims(shop: Shop) -> float | None:
    """Returns what the operator's metric counts in the shop's namespace; it counts each minute."""
    pods = shop.kubectl.json(
        *("get", "pods", "-n", "mooring-system"),
        *("-l", "app.kubernetes.io/component=operator", "--field-selector=status.phase=Running"),
    )["items"]
    for pod in pods:
        path = f"/api/v1/namespaces/mooring-system/pods/{pod['metadata']['name']}:9752"
        text = shop.kubectl.run("get", "--raw", f"{path}/proxy/metrics")
        pattern = rf'^mooring_suspect_claims{{namespace="{shop.namespace}"}} (\S+)$'
        if found := re.search(pattern, text, re.MULTILINE):
            return float(found.group(1))
    return None


def _copies(shop: Shop, **claims: str) -> None:
    """Makes claims that name a Backup themselves, each with a pod that reads it."""
    for claim, backup in claims.items():
        spec = {
            "storageClassName": "mooring",
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "64Mi"}},
            "dataSourceRef": {"apiGroup": "mooring.dev", "kind": "Backup", "name": backup},
        }
        shop.create("PersistentVolumeClaim", claim, spec, "v1")
        shop.pod(claim, claim, "exec sleep 3600")


def _checksum(shop: Shop, claim: str) -> str:
    shop.until(f"pod {claim}", lambda: shop.running(claim))
    return shop.checksum(claim)


def test_what_a_disk_loses_below_a_claim_is_found_and_the_good_backup_held(shop: Shop) -> None:
    sound = shop.filled(MEGABYTES, size="64Mi")
    one = shop.backed_up("one", bytesPerSecond=str(RATE), deletionPolicy="Delete")
    assert (one["reading"], one["readingReason"]) == ("Everything", "nothing tells what changed")
    read = one["progress"]["bytesRead"]
    assert read >= MEGABYTES * MIB
    took = _moment(one["completionTime"]) - _moment(one["snapshotTime"])
    # Both are told in whole seconds.
    assert took >= timedelta(seconds=(read - BATCH_BYTES) / RATE - 1), f"{read} bytes in {took}"
    shop.until(
        "its snapshot to be kept", lambda: shop.get("backup", "one")["status"].get("released")
    )
    shop.in_pod("writer", "echo later > /data/other && sync")
    offset = _flip_bit(shop, PLACE)

    two = shop.backed_up("two", reading="Everything")
    _is_suspect(shop, two, offset, one["backupId"])
    _is_restored_with_a_warning(shop, sound)
    _is_held(shop)
    shop.until("the metric", lambda: _suspect_claims(shop) == 1)

    three = shop.backed_up("three", acceptSuspect=True)
    assert (three["reading"], three["readWhole"]) == ("Everything", True)
    assert f"backup {two['backupId']} found" in three["readingReason"]
    assert condition(shop.get("backup", "three"), "Suspect") == {}
    shop.delete("backup", "two")
    shop.until("what it held to go", lambda: not shop.get("backup", "one"))
    assert shop.manifests() == sorted([two["backupId"], three["backupId"]])


def _is_suspect(shop: Shop, status: dict[str, Any], offset: int, good: str) -> None:
    assert (status["reading"], status["readingReason"]) == (
        "Everything",
        "spec.reading asks for it",
    )
    (place,) = status["suspect"]["places"]
    assert (place["offsetBytes"], place["lengthBytes"], place["good"]) == (offset, 1, good)
    assert (status["suspect"]["holds"], status["suspect"]["fresh"]) == ([good], True)
    found = shop.get("backup", "two")
    said = condition(found, "Suspect")
    assert (said["status"], said["reason"]) == ("True", "ContentLost")
    for part in (str(offset), good, "acceptSuspect"):
        assert part in said["message"]
    assert "it is Suspect" in condition(found, "Succeeded")["message"]
    assert _events(shop, "Backup", "two") == [said["message"]]
    assert _events(shop, "Backup", "one") == []


def _is_restored_with_a_warning(shop: Shop, sound: str) -> None:
    """What is Suspect comes back as it is, whoever asks for it; the good one is whole."""
    _copies(shop, rotten="two", good="one")
    target = {"claimName": "back"}
    spec = {
        "backupName": "two",
        "target": target,
        "placement": {"node": shop.cluster.node_names[1]},
    }
    shop.create("Restore", "back", spec)
    shop.until("the restored claim", lambda: shop.get("pvc", "back"))
    shop.pod("back", "back", "exec sleep 3600")
    assert _checksum(shop, "good") == sound
    assert _checksum(shop, "rotten") == _checksum(shop, "back") != sound
    for kind, name in (("Restore", "back"), ("PersistentVolumeClaim", "rotten")):
        (said,) = _events(shop, kind, name)
        assert "Backup two is Suspect" in said
    assert _events(shop, "PersistentVolumeClaim", "good") == []


def _is_held(shop: Shop) -> None:
    shop.kubectl.run("delete", "backup", "one", "-n", shop.namespace, "--wait=false")
    stalled = shop.until_condition("backup", "one", "Stalled", "True")
    assert stalled["reason"] == "HeldForMending"
    assert "kubectl delete backup two" in stalled["message"]


@contextmanager
def _drained_of_movers(shop: Shop, node: str) -> Iterator[None]:
    """A node that takes no new pods for a while, and has lost the movers that it had."""
    try:
        shop.kubectl.run(
            *("drain", node, "--pod-selector=mooring.dev/role=backup", "--timeout=100s"),
            *("--ignore-daemonsets", "--delete-emptydir-data"),
            timeout_seconds=110,
        )
        yield
    finally:
        shop.kubectl.run("uncordon", node)


def _run_of(shop: Shop, run: str) -> list[dict[str, Any]]:
    """Returns what a run's Backups say, once all of them have succeeded; any run if it is empty."""
    found = shop.kubectl.json(
        *("get", "backups", "-n", shop.namespace, "-l", "mooring.dev/backup-schedule=nightly")
    )["items"]
    found = [one for one in found if one["metadata"]["labels"]["mooring.dev/run"] == run or not run]
    done = all(condition(one, "Succeeded").get("status") == "True" for one in found)
    return [one["status"] for one in found] if done else []


def test_a_mover_that_a_drain_evicts_comes_back_to_its_data(shop: Shop) -> None:
    shop.filled(4, size="64Mi")
    home = shop.cluster.node_names[0]
    shop.until_condition("backuprepository", "main", "Ready", "True")
    shop.backup("one", bytesPerSecond=str(RATE))
    evicted = shop.until("the mover", lambda: shop.mover("backup"))["metadata"]["name"]
    with _drained_of_movers(shop, home):
        assert condition(shop.get("backup", "one"), "Succeeded")["status"] == "Unknown"
        mover = shop.until("another mover", lambda: shop.mover("backup"))
        assert mover["metadata"]["name"] != evicted
        assert mover["spec"]["nodeName"] == home
        shop.until_condition("backup", "one", "Succeeded", "True")
    assert "attempts" not in shop.get("backup", "one")["status"], "an eviction is no failure"


def test_a_schedule_reads_everything_when_that_is_due(shop: Shop) -> None:
    shop.filled(4, size="64Mi")
    shop.backed_up("first")
    shop.until("it to be put away", lambda: shop.get("backup", "first")["status"].get("released"))
    spec = {
        "schedule": "* * * * *",
        "readEverythingSchedule": "* * * * *",
        "claims": {"all": True},
        "repositoryName": "main",
    }
    shop.create("BackupSchedule", "nightly", {**spec, "schedule": "0 0 1 1 *"})
    note = "mooring.dev/run-now=asked"
    shop.kubectl.run("annotate", "bks", "nightly", "-n", shop.namespace, note)
    (asked,) = shop.until("the run that was asked for", lambda: _run_of(shop, "asked"))
    assert asked["reading"] == "Changed"
    assert "readWhole" not in asked
    change = json.dumps({"spec": {"schedule": "* * * * *"}})
    shop.kubectl.run("patch", "bks", "nightly", "-n", shop.namespace, "--type=merge", "-p", change)

    def own_runs() -> list[dict[str, Any]]:
        return [one for one in _run_of(shop, "") if one["backupId"] != asked["backupId"]]

    shop.until("a run of its own", own_runs)
    change = json.dumps({"spec": {"suspend": True}})
    shop.kubectl.run("patch", "bks", "nightly", "-n", shop.namespace, "--type=merge", "-p", change)
    for one in shop.until("its runs to end", own_runs):
        assert (one["reading"], one["readWhole"]) == ("Everything", True)
        assert one["readingReason"] == "spec.reading asks for it"
        assert "suspect" not in one
        assert one["progress"]["bytesScrubbed"] >= 4 * MIB
