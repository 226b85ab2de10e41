"""A repository that a cluster does not know: its backups are shown, and its claims recovered."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.shop import Shop

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
CHECKOUT = Path(__file__).resolve().parents[2]


def mooring(*words: str) -> Any:
    """Runs the plugin as a user would."""
    path = ":".join(str(CHECKOUT / folder) for folder in ("engine", "cli"))
    done = subprocess.run(
        [sys.executable, "-m", "mooring_cli.main", *words, "-o", "json"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def recovery_slots(shop: Shop, name: str) -> list[str]:
    found: list[str] = shop.get("backuprepository", name)["status"].get("recoverySlots", [])
    return found


def test_a_repository_is_ready_once_the_cluster_added_the_slot(shop: Shop, tmp_path: Path) -> None:
    encryption: dict[str, Any] = {"keySecretName": "key"}
    spec = {"directory": {"folder": "backups"}, "encryption": encryption}
    shop.create("BackupRepository", "bare", spec)
    stalled = shop.until_condition("backuprepository", "bare", "Stalled", "True")
    assert stalled["reason"] == "NoRecoverySlot"
    made = mooring("keygen", str(tmp_path / "recovery.key"))
    patch = json.dumps({"spec": {"encryption": {"recoveryKeys": [made["publicKey"]]}}})
    shop.kubectl.run(
        *("patch", "backuprepository", "bare", "-n", shop.namespace, "--type=merge", "-p", patch)
    )
    shop.until_condition("backuprepository", "bare", "Ready", "True")
    assert recovery_slots(shop, "bare") == [f"x25519:{made['fingerprint']}"]


def test_what_a_repository_holds_is_shown_and_recovered(shop: Shop) -> None:
    checksum = shop.filled(megabytes=8, deletionPolicy="Delete")
    shop.until_condition("backuprepository", "main", "Ready", "True")
    made = shop.backed_up()
    for kind, name in (("pod", "writer"), ("backup", "one"), ("volumeclaim", "data")):
        shop.delete(kind, name)
    shop.delete("backuprepository", "main")
    shop.until("no claim", lambda: not shop.get("pvc", "data"))
    shop.repository()
    shop.until_condition("backup", "one", "Succeeded", "True")
    shown = shop.get("backup", "one")["status"]
    assert (shown["imported"], shown["backupId"]) == (True, made["backupId"])
    shop.until(
        "the listing",
        lambda: shop.get("backuprepository", "main")["status"].get("listing", {}).get("done"),
    )
    kubeconfig = ("--kubeconfig", str(shop.kubectl.kubeconfig))
    words = ("recover", "-n", shop.namespace, "--now", "--timeout", "180", *kubeconfig)
    assert [row["action"] for row in mooring(*words)] == ["restore"]
    assert not shop.get("pvc", "data")
    mooring(*words, "--yes")
    shop.until_condition("volumeclaim", "data", "Ready", "True")
    shop.pod("reader", "data", "exec sleep 3600")
    shop.until("the reader", lambda: shop.running("reader"))
    assert shop.checksum("reader") == checksum
    shop.delete("backup", "one")
    assert made["backupId"] in shop.manifests(), "deleting an imported object deletes no bytes"
