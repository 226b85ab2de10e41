"""Points in time, copies, repositories on claims, and who waits for whom, on real nodes."""

import functools
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from mooring.api import keys
from mooring_dev.kubectl import KubectlError, condition
from support.development_cluster import DevelopmentCluster
from support.shop import Shop, opened

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
SNAPSHOT_API = "snapshot.storage.k8s.io/v1"
_STARTING_LIMIT_SECONDS = 5.0
"""A claim that waits for the volume binder's next round takes up to 15 s, 8 s on average."""


def write(shop: Shop, text: str) -> None:
    shop.in_pod("writer", f"echo {text} > /data/file && sync")


def read(shop: Shop, claim: str) -> str:
    """What a pod reads in a claim; it is the first one to use it."""
    shop.until(f"pod {claim}", lambda: shop.running(claim))
    return shop.in_pod(claim, "cat /data/file").strip()


def reader(shop: Shop, claim: str) -> None:
    shop.pod(claim, claim, "exec sleep 3600")


def seconds_to_job(shop: Shop, kind: str, name: str) -> float:
    """How long a run took from its start, the snapshot included, until it had a Job."""
    obj = shop.get(kind, name)
    owner = obj["status"]["claimUid"] if kind == "restore" else obj["metadata"]["uid"]
    job = f"mooring-{kind}-{owner}"
    found = shop.kubectl.json("get", "events", "-n", shop.namespace)["items"]
    made = [e for e in found if e["reason"] == "SuccessfulCreate"]
    first = min(
        entry.get("firstTimestamp") or entry["eventTime"]
        for entry in made
        if entry["involvedObject"]["name"] == job
    )
    started = datetime.fromisoformat(obj["status"]["startTime"])
    return (datetime.fromisoformat(first) - started).total_seconds()


def starting(shop: Shop, kind: str, name: str) -> None:
    seconds = seconds_to_job(shop, kind, name)
    assert seconds <= _STARTING_LIMIT_SECONDS, f"{kind} {name} waited {seconds} s for its Job"


@pytest.fixture(scope="module")
def three_points(mooring: DevelopmentCluster) -> Iterator[Shop]:
    """A volume that held `one` and `two` when it was backed up, and holds `three`.

    There is a VolumeSnapshot of `two`.
    """
    with opened(mooring) as shop:
        _write_three_points(shop)
        yield shop


def _write_three_points(shop: Shop) -> None:
    shop.claim("data", shop.cluster.node_names[0])
    shop.pod("writer", "data", "exec sleep 3600")
    shop.until("the writer", lambda: shop.running("writer"))
    for point in ("one", "two"):
        write(shop, point)
        shop.backed_up(point)
        starting(shop, "backup", point)
    source = {"persistentVolumeClaimName": "data"}
    spec = {"volumeSnapshotClassName": "mooring", "source": source}
    shop.create("VolumeSnapshot", "second", spec, SNAPSHOT_API)
    shop.until(
        "the snapshot",
        lambda: shop.get("volumesnapshot", "second").get("status", {}).get("readyToUse"),
    )
    write(shop, "three")


def test_each_point_in_time_and_each_source_has_its_own_content(three_points: Shop) -> None:
    shop = three_points
    home, other = shop.cluster.node_names
    backup_id = shop.get("backup", "two")["status"]["backupId"]
    shop.delete("backup", "two")
    away = {"node": other}
    shop.create(
        "Restore",
        "first",
        {"backupName": "one", "target": {"claimName": "first"}, "placement": away},
    )
    point = {"repositoryName": "main", "backupId": backup_id}
    target = {"claimName": "by-id", "size": "256Mi"}
    shop.create("Restore", "by-id", {"point": point, "target": target, "placement": away})
    for name, source in {
        "from-snapshot": {"snapshotName": "second"},
        "from-claim": {"volumeClaimName": "data"},
        "from-backup": {"backupName": "one"},
    }.items():
        shop.create("VolumeClaim", name, {"size": "256Mi", "source": source})
    for claim in ("first", "by-id"):
        shop.until(claim, functools.partial(shop.get, "pvc", claim))
    wanted = {
        "first": "one",
        "by-id": "two",
        "from-snapshot": "two",
        "from-claim": "three",
        "from-backup": "one",
    }
    for claim in wanted:
        reader(shop, claim)
    assert {claim: read(shop, claim) for claim in wanted} == wanted
    for name in ("first", "by-id"):
        shop.until_condition("restore", name, "Succeeded", "True")
        starting(shop, "restore", name)
        assert shop.get("pod", name)["spec"]["nodeName"] == other
    for name in ("from-snapshot", "from-claim"):
        assert shop.until_condition("volumeclaim", name, "Ready", "True")
        status = shop.get("volumeclaim", name)["status"]
        assert status["node"] == home
        assert "is there" in status["placementReason"]
    _nothing_is_lost(shop)
    # Under the same name, a Restore of another point in time is another Restore.
    shop.delete("restore", "first")
    shop.create("Restore", "first", {"point": point, "target": {**target, "claimName": "first"}})
    refused = shop.until_condition("restore", "first", "Succeeded", "False")
    assert refused["reason"] == "ClaimTaken"


def _nothing_is_lost(shop: Shop) -> None:
    """Deleting a claim in use waits and says so; deleting a VolumeClaim keeps its data."""
    patch = json.dumps({"spec": {"deletionPolicy": "Delete"}})
    namespace = ("-n", shop.namespace)
    shop.kubectl.run("patch", "vcl", "from-claim", *namespace, "--type=merge", "-p", patch)
    volume = shop.get("volumeclaim", "from-claim")["status"]["volumeId"]
    shop.kubectl.run("delete", "vcl", "data", "from-claim", *namespace, "--wait=false")
    stalled = shop.until_condition("volumeclaim", "from-claim", "Stalled", "True")
    assert stalled["reason"] == "InUse"
    assert "kubectl delete pod from-claim" in stalled["message"]
    assert shop.in_pod("from-claim", "cat /data/file").strip() == "three"
    shop.delete("pod", "from-claim")
    shop.until("its end", lambda: not shop.get("pvc", "from-claim"))
    shop.until("its bytes' end", lambda: shop.kubectl.find("volumes.mooring.dev", volume) is None)
    shop.kubectl.run("delete", "pvc", "from-snapshot", *namespace, "--wait=false")
    kept = shop.until_condition("volumeclaim", "from-snapshot", "Ready", "False")
    assert kept["reason"] == "ClaimTerminating"
    assert "kubectl delete pod from-snapshot" in kept["message"]
    assert shop.in_pod("from-snapshot", "cat /data/file").strip() == "two"
    shop.until("data let go", lambda: not shop.get("volumeclaim", "data"))
    assert shop.get("pvc", "data")["status"]["phase"] == "Bound"
    assert shop.in_pod("writer", "cat /data/file").strip() == "three"
    shop.claim("data", shop.cluster.node_names[0])
    shop.until_condition("volumeclaim", "data", "Ready", "True")


def test_sources_and_targets_that_cannot_be_say_what_to_do(three_points: Shop) -> None:
    shop = three_points
    wrong: dict[str, tuple[dict[str, Any], str]] = {
        "no-snapshot": ({"source": {"snapshotName": "gone"}}, "SourceNotFound"),
        "no-claim": ({"source": {"volumeClaimName": "gone"}}, "SourceNotFound"),
        "no-backup": ({"source": {"backupName": "gone"}}, "SourceNotFound"),
        "small": ({"source": {"snapshotName": "second"}, "size": "16Mi"}, "SizeOutOfRange"),
    }
    for name, (spec, _) in wrong.items():
        shop.create("VolumeClaim", name, {"size": "256Mi", **spec})
    for name, (_, reason) in wrong.items():
        stalled = shop.until_condition("volumeclaim", name, "Stalled", "True")
        assert (name, stalled["reason"]) == (name, reason)
        assert not shop.get("pvc", name)
    # Without a placement a restore waits for its first pod: it is under way as long as we like.
    shop.create("Restore", "later", {"backupName": "one", "target": {"claimName": "later"}})
    shop.until("its claim", lambda: shop.get("pvc", "later"))
    shop.create("Restore", "second", {"backupName": "two", "target": {"claimName": "later"}})
    refused = shop.until_condition("restore", "second", "Succeeded", "False")
    assert refused["reason"] == "ClaimTaken"
    assert "restore to another name" in refused["message"]
    shop.create("Restore", "third", {"backupName": "two", "target": {"claimName": "data"}})
    refused = shop.until_condition("restore", "third", "Succeeded", "False")
    assert refused["reason"] == "ClaimExists"
    shop.kubectl.run("delete", "backup", "one", "-n", shop.namespace, "--wait=false")
    stalled = shop.until_condition("backup", "one", "Stalled", "True")
    assert stalled["reason"] == "InUse"
    assert "kubectl delete restore/later" in stalled["message"]
    # A source that appears later is taken then.
    shop.backup("gone")
    reader(shop, "later")
    assert read(shop, "later") == "one"
    shop.until("the backup's end", lambda: not shop.get("backup", "one"))
    shop.until("its claim", lambda: shop.get("pvc", "no-backup"))
    reader(shop, "no-backup")
    assert read(shop, "no-backup") == "three"
    assert shop.in_pod("writer", "cat /data/file").strip() == "three"


def test_a_volume_is_made_where_its_claim_says_whatever_was_picked(shop: Shop) -> None:
    asked, picked = shop.cluster.node_names[:2]
    # As after a first failure of the node that was asked for: the scheduler has picked another.
    notes = {keys.PLACEMENT_NODE: asked, keys.SELECTED_NODE: picked}
    body = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "bound", "namespace": shop.namespace, "annotations": notes},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "mooring",
            "resources": {"requests": {"storage": "256Mi"}},
        },
    }
    reader(shop, "bound")
    shop.kubectl.run("apply", "-f", "-", stdin=json.dumps(body))
    shop.until("pod bound", lambda: shop.running("bound"))
    assert shop.get("pod", "bound")["spec"]["nodeName"] == asked


def test_a_repository_on_a_claim_and_none_in_etc(shop: Shop) -> None:
    home, other = shop.cluster.node_names
    shop.claim("vault", home)
    encryption = {"keySecretName": "key", "recovery": "None"}
    vault = {"directory": {"claimName": "vault"}, "encryption": encryption}
    shop.create("BackupRepository", "vault", vault)
    for folder in ("/etc", "../etc", "backups/../../etc", "."):
        spec = {"directory": {"folder": folder}, "encryption": encryption}
        with pytest.raises(KubectlError, match=r"spec\.directory\.folder"):
            shop.create("BackupRepository", "sly", spec)
    shop.create(
        "BackupRepository", "sly", {"directory": {"folder": "etc"}, "encryption": encryption}
    )
    stalled = shop.until_condition("backuprepository", "sly", "Stalled", "True")
    assert stalled["reason"] == "FolderNotAllowed"
    assert "it may use: backups" in stalled["message"]
    checksum = shop.filled(megabytes=8)
    shop.until_condition("backuprepository", "vault", "Ready", "True")
    shop.backed_up(repositoryName="vault")
    target = {"claimName": "restored"}
    shop.create(
        "Restore", "back", {"backupName": "one", "target": target, "placement": {"node": home}}
    )
    shop.claim("far", other)
    shop.pod("far", "far", "exec sleep 3600")
    shop.until("the far pod", lambda: shop.running("far"))
    shop.backup("far", claim="far", repositoryName="vault")
    stalled = shop.until_condition("backup", "far", "Succeeded", "False")
    assert stalled["reason"] == "RepositoryElsewhere"
    assert home in stalled["message"]
    shop.until_condition("restore", "back", "Succeeded", "True")
    reader(shop, "restored")
    shop.until("the reader", lambda: shop.running("restored"))
    assert shop.checksum("restored") == checksum
    assert condition(shop.get("backuprepository", "vault"), "Ready")["status"] == "True"
