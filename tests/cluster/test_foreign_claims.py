"""Claims of another CSI driver, with its real sidecars: backed up, restored into Mooring's volumes.

The driver is the tests' own (`support/other_driver.py`): csi-driver-host-path is not to be had
from the Go module proxy. external-provisioner, csi-snapshotter and snapshot-controller are real.
"""

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mooring_dev.kubectl import Kubectl
from support.development_cluster import DevelopmentCluster
from support.shop import Shop, opened

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
SUPPORT = Path(__file__).resolve().parents[1] / "support"
NAMESPACE = "other-driver"
MIB = 1 << 20
FILL = "dd if=/dev/urandom of=/data/file bs=1M count={} 2>/dev/null && sync && touch /data/done"


def image_of_mooring(kubectl: Kubectl) -> str:
    found = kubectl.json("get", "deployment", "mooring-operator", "-n", "mooring-system")
    return str(found["spec"]["template"]["spec"]["containers"][0]["image"])


@pytest.fixture(scope="module")
def other_driver(mooring: DevelopmentCluster) -> Iterator[DevelopmentCluster]:
    """The cluster with another driver on its first node."""
    kubectl = mooring.kubectl
    manifests = (SUPPORT / "other_driver.yaml").read_text()
    manifests = re.sub(r"\bNODE\b", mooring.node_names[0], manifests)
    manifests = re.sub(r"\bIMAGE\b", image_of_mooring(kubectl), manifests)
    kubectl.run("create", "namespace", NAMESPACE)
    program = f"--from-file={SUPPORT / 'other_driver.py'}"
    kubectl.run("create", "configmap", "other-driver", "-n", NAMESPACE, program)
    kubectl.apply(manifests)
    kubectl.run(
        *("wait", "pod/other-driver", "-n", NAMESPACE, "--for=condition=Ready", "--timeout=60s"),
        timeout_seconds=70,
    )
    kubectl.wait_for("the driver's registration", lambda: _registered(mooring), timeout_seconds=60)
    yield mooring
    kubectl.run("delete", "-f", "-", "--wait=true", stdin=manifests, timeout_seconds=90)
    kubectl.run("delete", "namespace", NAMESPACE, "--wait=false")


def _registered(cluster: DevelopmentCluster) -> bool:
    found = cluster.kubectl.json("get", "csinode", cluster.node_names[0])
    return any(one["name"] == "other.csi.example.com" for one in found["spec"]["drivers"])


@pytest.fixture
def shop(other_driver: DevelopmentCluster) -> Iterator[Shop]:
    """A tenant whose volumes are the other driver's, until all of them are gone at the end."""
    with opened(other_driver) as found:
        yield found
    # Users' volumes of a class with Retain; whatever a Backup left is asserted in the tests.
    for volume in _volumes(found):
        name = volume["metadata"]["name"]
        change = json.dumps({"spec": {"persistentVolumeReclaimPolicy": "Delete"}})
        found.kubectl.run("patch", "pv", name, "--type=merge", "-p", change)
    found.until("its volumes' end", lambda: not _volumes(found))
    found.until("their bytes' end", lambda: not files(found))


def _volumes(shop: Shop) -> list[dict[str, Any]]:
    found = shop.kubectl.json("get", "pv")["items"]
    return [
        volume
        for volume in found
        if volume["spec"].get("csi", {}).get("driver") == "other.csi.example.com"
        and volume["spec"]["claimRef"]["namespace"] == shop.namespace
    ]


def files(shop: Shop) -> list[str]:
    """What the driver keeps."""
    text = shop.kubectl.run(
        "exec", "-n", NAMESPACE, "other-driver", "-c", "driver", "--", "ls", "/data"
    )
    return sorted(text.split())


def claim(shop: Shop, name: str, storage_class: str, mode: str = "Filesystem") -> None:
    spec = {
        "volumeMode": mode,
        "storageClassName": storage_class,
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "384Mi"}},
    }
    shop.create("PersistentVolumeClaim", name, spec, "v1")


def filled(shop: Shop, name: str, storage_class: str, megabytes: int) -> str:
    """Makes a claim with random bytes in it, and a pod that holds it; returns their checksum."""
    claim(shop, name, storage_class)
    shop.pod(name, name, f"{FILL.format(megabytes)} && exec sleep 3600")
    shop.until(f"pod {name}", lambda: shop.running(name))
    shop.until("its file", lambda: "done" in shop.in_pod(name, "ls /data"))
    return shop.checksum(name)


def filled_block(shop: Shop, name: str, megabytes: int) -> None:
    """Makes a raw block claim with random bytes in it, and a pod that holds it."""
    claim(shop, name, "other-images", "Block")
    command = f"dd if=/dev/urandom of=/dev/raw bs=1M count={megabytes} conv=fsync && sleep 3600"
    pod = {
        "terminationGracePeriodSeconds": 0,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "supplementalGroups": [6],
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "main",
                "image": "localhost/busybox:dev",
                "command": ["sh", "-c", command],
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeDevices": [{"name": "raw", "devicePath": "/dev/raw"}],
            }
        ],
        "volumes": [{"name": "raw", "persistentVolumeClaim": {"claimName": name}}],
    }
    shop.create("Pod", name, pod, "v1")
    shop.until(f"pod {name}", lambda: shop.running(name))
    logs = ("logs", "-n", shop.namespace, name)
    shop.until("its bytes", lambda: "records out" in shop.kubectl.run(*logs))


def back_up(shop: Shop, name: str, of: str, **spec: Any) -> None:
    source = {"persistentVolumeClaimName": of}
    shop.create("Backup", name, {"source": source, "repositoryName": "main", **spec})


def succeeded(shop: Shop, name: str) -> dict[str, Any]:
    shop.until_condition("backup", name, "Succeeded", "True")
    shop.until("its tidying", lambda: shop.get("backup", name)["status"].get("released"))
    status: dict[str, Any] = shop.get("backup", name)["status"]
    return status


def left(shop: Shop) -> list[str]:
    """What Backups made to read volumes and is still there."""
    found = [f"pv {v['metadata']['name']}" for v in _volumes(shop)
             if v["spec"]["claimRef"]["name"].startswith("mooring-source-")]  # fmt: skip
    for kind in ("volumesnapshots", "pvc", "jobs"):
        items = shop.kubectl.json("get", kind, "-n", shop.namespace)["items"]
        names = [item["metadata"]["name"] for item in items]
        found += [f"{kind} {name}" for name in names if name.startswith("mooring-") and
                  not name.startswith("mooring-repository-")]  # fmt: skip
    contents = shop.kubectl.json("get", "volumesnapshotcontents")["items"]
    return found + [
        f"content {one['metadata']['name']}"
        for one in contents
        if one["spec"]["volumeSnapshotRef"]["namespace"] == shop.namespace
    ]


def nothing_is_left(shop: Shop, volumes: int) -> None:
    shop.until("the end of all that was made", lambda: not left(shop))
    shop.until("its bytes' end", lambda: len(files(shop)) == volumes)


def test_it_is_backed_up_by_what_differs_and_restored_on_another_node(shop: Shop) -> None:
    first = filled(shop, "disk", "other-images", megabytes=48)
    back_up(shop, "one", "disk")
    status = succeeded(shop, "one")
    assert (status["driver"], status["filesystem"]) == ("other.csi.example.com", "xfs")
    assert (status["consistency"], status["sectorSizeBytes"]) == ("Crash", 512)
    assert status["sizeBytes"] == 384 * MIB
    assert status["progress"]["bytesSent"] >= 48 * MIB
    nothing_is_left(shop, volumes=1)
    shop.in_pod("disk", "echo more > /data/more && sync")
    back_up(shop, "two", "disk")
    assert succeeded(shop, "two")["progress"]["bytesSent"] <= 8 * MIB
    nothing_is_left(shop, volumes=1)
    target, other = {"claimName": "restored"}, shop.cluster.node_names[1]
    placement = {"node": other}
    shop.create("Restore", "back", {"backupName": "two", "target": target, "placement": placement})
    shop.until_condition("restore", "back", "Succeeded", "True")
    shop.pod("restored", "restored", "exec sleep 3600")
    shop.until("the reader", lambda: shop.running("restored"))
    assert shop.get("pod", "restored")["spec"]["nodeName"] == other
    assert shop.get("pvc", "restored")["spec"]["storageClassName"] == "mooring"
    assert shop.checksum("restored") == first
    assert shop.in_pod("restored", "cat /data/more").strip() == "more"
    assert shop.checksum("disk") == first, "the claim itself is as it was"


def test_a_schedule_takes_a_block_claim_by_name(shop: Shop) -> None:
    filled_block(shop, "raw", megabytes=8)
    claims = {"names": ["raw"]}
    spec = {"schedule": "0 3 1 1 *", "claims": claims, "repositoryName": "main"}
    shop.create("BackupSchedule", "yearly", spec)
    shop.kubectl.run("annotate", "bks", "yearly", "-n", shop.namespace, "mooring.dev/run-now=now")
    selector = ("-n", shop.namespace, "-l", "mooring.dev/backup-schedule=yearly")
    made = shop.until("its Backup", lambda: shop.kubectl.json("get", "backups", *selector)["items"])
    name = made[0]["metadata"]["name"]
    status = succeeded(shop, name)
    assert (status["volumeMode"], status["sizeBytes"]) == ("Block", 384 * MIB)
    assert "filesystem" not in status
    assert status["progress"]["bytesSent"] >= 8 * MIB
    nothing_is_left(shop, volumes=1)
    placement = {"node": shop.cluster.node_names[1]}
    target = {"claimName": "restored"}
    shop.create("Restore", "back", {"backupName": name, "target": target, "placement": placement})
    shop.until_condition("restore", "back", "Succeeded", "True")
    assert shop.get("pvc", "restored")["spec"]["volumeMode"] == "Block"


def test_what_is_no_image_of_the_volume_is_no_backup(shop: Shop) -> None:
    filled(shop, "archived", "other-archives", megabytes=4)
    filled(shop, "folder", "other-folders", megabytes=4)
    back_up(shop, "archived", "archived")
    back_up(shop, "folder", "folder", startingDeadlineSeconds=30)
    said = shop.until_condition("backup", "archived", "Succeeded", "False")
    assert said["reason"] == "Unsupported"
    assert "keeps folders, not images" in said["message"]
    said = shop.until_condition("backup", "folder", "Succeeded", "False")
    assert said["reason"] == "DeviceNotReady"
    assert "block volumes are not supported" in said["message"]
    nothing_is_left(shop, volumes=2)
    assert "backupId" not in shop.get("backup", "folder")["status"]


def test_the_operators_death_and_a_backups_end_in_the_middle_leave_nothing(shop: Shop) -> None:
    filled(shop, "folder", "other-folders", megabytes=1)
    back_up(shop, "waits", "folder", startingDeadlineSeconds=3600)
    name = f"mooring-source-{shop.get('backup', 'waits')['metadata']['uid']}"
    shop.until("its device's claim", lambda: shop.get("pvc", name))
    (process,) = shop.cluster.pod_processes("mooring-operator")
    os.kill(process, signal.SIGKILL)
    shop.kubectl.run("delete", "backup", "waits", "-n", shop.namespace, "--wait=false")
    shop.until("its end", lambda: not shop.get("backup", "waits"))
    nothing_is_left(shop, volumes=1)
