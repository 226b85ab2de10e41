"""Backups and restores on real nodes: kubelets, loop devices, movers as restricted pods."""

import json
import os
import signal
import time

import pytest

from mooring_dev.kubectl import condition
from support.shop import Shop

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


def test_a_pod_waits_for_whole_data_while_its_mover_is_killed(shop: Shop) -> None:
    checksum = shop.filled()
    status = shop.backed_up()
    assert status["node"] == shop.cluster.node_names[0]
    assert status["progress"]["bytesStored"] >= 64 << 20
    other = shop.cluster.node_names[1]
    target = {"claimName": "restored", "size": "512Mi"}
    placement = {"node": other}
    shop.create("Restore", "back", {"backupName": "one", "target": target, "placement": placement})
    shop.until("the new claim", lambda: shop.get("pvc", "restored"))
    shop.pod("reader", "restored", "exec sleep 3600")
    mover = shop.until("the mover", lambda: shop.mover("restore"))
    name = mover["metadata"]["name"]
    shop.kubectl.run("delete", "pod", name, "-n", shop.namespace, "--grace-period=0", "--force")
    while condition(shop.get("restore", "back"), "Succeeded").get("status") != "True":
        phase = shop.get("pvc", "restored").get("status", {}).get("phase")
        if shop.running("reader"):
            assert phase == "Bound"
            break
        time.sleep(0.2)
    shop.until_condition("restore", "back", "Succeeded", "True")
    shop.until("the reader", lambda: shop.running("reader"))
    assert shop.checksum("reader") == checksum
    assert shop.get("pod", "reader")["spec"]["nodeName"] == other
    size = int(shop.in_pod("reader", "df -k /data | tail -1 | awk '{print $2}'"))
    assert size > 400_000, "the filesystem grew to the larger claim"


def test_the_next_backup_reads_only_what_changed(shop: Shop) -> None:
    shop.filled()
    first = shop.backed_up("one")
    shop.until(
        "its snapshot to be kept", lambda: shop.get("backup", "one")["status"].get("released")
    )
    command = "dd if=/dev/urandom of=/data/file bs=1M seek=9 count=1 conv=notrunc && sync"
    shop.in_pod("writer", command)
    checksum = shop.checksum("writer")
    second = shop.backed_up("two")
    assert second["progress"]["bytesRead"] < first["progress"]["bytesRead"] // 4
    assert second["progress"]["bytesSent"] >= 1 << 20

    def kept() -> bool:
        found = [one for v in shop.volumes() for one in v["status"].get("snapshots", [])]
        return [one.get("baseOf") for one in found] == [second["backupId"]]

    shop.until("the base of the second backup alone", kept)
    target = {"claimName": "restored"}
    placement = {"node": shop.cluster.node_names[1]}
    shop.create("Restore", "back", {"backupName": "two", "target": target, "placement": placement})
    shop.until("the new claim", lambda: shop.get("pvc", "restored"))
    shop.pod("reader", "restored", "exec sleep 3600")
    shop.until_condition("restore", "back", "Succeeded", "True")
    shop.until("the reader", lambda: shop.running("reader"))
    assert shop.checksum("reader") == checksum


def test_a_volume_is_set_back_from_what_its_node_keeps(shop: Shop) -> None:
    checksum = shop.filled(megabytes=200)
    shop.backed_up("one")
    shop.until(
        "its snapshot to be kept", lambda: shop.get("backup", "one")["status"].get("released")
    )
    shop.in_pod("writer", "dd if=/dev/urandom of=/data/file bs=1M seek=9 count=1 conv=notrunc")
    placement = {"node": shop.cluster.node_names[0]}
    target = {"claimName": "restored"}
    shop.create("Restore", "back", {"backupName": "one", "target": target, "placement": placement})
    shop.until("the new claim", lambda: shop.get("pvc", "restored"))
    shop.pod("reader", "restored", "exec sleep 3600")
    shop.until_condition("restore", "back", "Succeeded", "True")
    progress = shop.get("restore", "back")["status"]["progress"]
    assert progress["bytesReused"] >= 190 << 20
    assert progress["bytesRead"] < 20 << 20
    shop.until("the reader", lambda: shop.running("reader"))
    assert shop.checksum("reader") == checksum


def test_a_mover_sees_its_own_device_and_no_other(shop: Shop) -> None:
    shop.filled(megabytes=100)
    shop.until_condition("backuprepository", "main", "Ready", "True")
    shop.backup("one")
    # It would be done before it is asked.
    (process,) = shop.until("the mover", lambda: shop.cluster.pod_processes("mooring"))
    os.kill(process, signal.SIGSTOP)
    mover = shop.until("its pod", lambda: shop.mover("backup"))
    attempts = {
        "a loop device": "ls /dev/loop*",
        "writing": "printf x > /dev/mooring-volume",
        "mknod": "mknod /tmp/disk b 7 0",
        "a token": "ls /var/run/secrets/kubernetes.io/serviceaccount",
        "other repositories": "ls /repository/.. | grep shop",
        "the image": "touch /usr/x",
    }
    tries = [
        f"({command}) >/dev/null 2>&1 && echo did || echo refused" for command in attempts.values()
    ]
    reading = "head -c 1 /dev/mooring-volume >/dev/null && echo reads"
    script = "; ".join(["id -u", "id -G", reading, *tries])
    try:
        answers = shop.in_pod(mover["metadata"]["name"], script).splitlines()
    finally:
        os.kill(process, signal.SIGCONT)
    assert answers[:3] == ["65532", "65532", "reads"]
    assert dict(zip(attempts, answers[3:], strict=True)) == dict.fromkeys(attempts, "refused")
    shop.until_condition("backup", "one", "Succeeded", "True")


def test_bytes_go_only_when_told_and_a_wrong_key_opens_nothing(shop: Shop) -> None:
    shop.filled(megabytes=4)
    kept = shop.backed_up("kept")["backupId"]
    gone = shop.backed_up("gone", deletionPolicy="Delete")["backupId"]
    shop.delete("backup", "kept")
    shop.delete("backup", "gone")
    folder = f"/srv/mooring-backups/{shop.namespace}/main"
    files = shop.cluster.on_node(shop.cluster.node_names[0], "find", folder, "-type", "f")
    assert f"manifests/{kept}" in files
    assert f"manifests/{gone}" not in files
    shop.delete("backuprepository", "main")
    shop.key("other")
    shop.repository(key="other")
    ready = shop.until_condition("backuprepository", "main", "Stalled", "True")
    assert ready["reason"] == "WrongKey"


def test_a_missing_key_and_a_missing_claim_say_what_to_do(shop: Shop) -> None:
    shop.repository("keyless", key="nowhere")
    stalled = shop.until_condition("backuprepository", "keyless", "Stalled", "True")
    assert stalled["reason"] == "KeyMissing"
    assert "kubectl" in stalled["message"]
    spec = {"directory": {"claimName": "nowhere"}, "encryption": {"keySecretName": "key"}}
    shop.create("BackupRepository", "claimless", spec)
    stalled = shop.until_condition("backuprepository", "claimless", "Stalled", "True")
    assert stalled["reason"] == "ClaimNotFound"


def test_a_claim_grows_with_its_next_pod_at_the_latest(shop: Shop) -> None:
    checksum = shop.filled(megabytes=4)
    patch = json.dumps({"spec": {"size": "320Mi"}})
    shop.kubectl.run("patch", "vcl", "data", "-n", shop.namespace, "--type=merge", "-p", patch)
    shop.until(
        "the volume to grow",
        lambda: condition(shop.get("volumeclaim", "data"), "Ready").get("reason") == "Growing",
    )
    shop.delete("pod", "writer")
    # Where ext4 cannot grow while mounted (no CAP_SYS_RESOURCE), it grows at its next mount.
    home = shop.cluster.node_names[0]
    volume = shop.get("pvc", "data")["spec"]["volumeName"]
    shop.until("its unmounting", lambda: volume not in shop.mounts(home))
    shop.until("no stage of it", lambda: "globalmount" not in shop.mounts(home))
    shop.pod("reader", "data", "exec sleep 3600")
    shop.until(
        "its new size",
        lambda: shop.get("volumeclaim", "data")["status"].get("capacity") == "320Mi",
    )
    shop.until_condition("volumeclaim", "data", "Ready", "True")
    shop.until("the reader", lambda: shop.running("reader"))
    assert shop.checksum("reader") == checksum
    size = int(shop.in_pod("reader", "df -k /data | tail -1 | awk '{print $2}'"))
    assert size > 280_000
