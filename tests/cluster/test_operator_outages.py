"""What an operator outlives in the middle of its work: its own death, and the API server's.

MOORING_OUTAGE_SECONDS=600 makes the API server's outage that long.
"""

import os
import signal
import sys
import time

import pytest

from support.shop import Shop
from support.timed_writes import WRITER, Gaps, uptime

OUTAGE_SECONDS = float(os.environ.get("MOORING_OUTAGE_SECONDS", "30"))
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600 + OUTAGE_SECONDS)]


def kill_operator(shop: Shop) -> None:
    (process,) = shop.cluster.pod_processes("mooring-operator")
    os.kill(process, signal.SIGKILL)


def stop_api_server(shop: Shop) -> None:
    """Silences the API server as a hung machine would, then ends it; it is started anew."""
    process = shop.cluster.control_process("kube-apiserver")
    os.kill(process, signal.SIGSTOP)
    time.sleep(OUTAGE_SECONDS)  # this is the outage
    os.kill(process, signal.SIGKILL)


def restore(shop: Shop, name: str, backup: str) -> None:
    target, placement = {"claimName": name}, {"node": shop.cluster.node_names[1]}
    spec = {"backupName": backup, "target": target, "placement": placement}
    shop.create("Restore", name, spec)


def is_back(shop: Shop, writing: Gaps, began: float) -> None:
    """Everybody serves again after the outage, and the writer never noticed it."""
    ended = time.monotonic()
    shop.until("an answer", lambda: shop.get("volumeclaim", "data"))
    answered = time.monotonic()
    shop.claim("new", shop.cluster.node_names[1], size="64Mi")
    shop.until_condition("volumeclaim", "new", "Ready", "True")
    made = time.monotonic()
    longest = writing.after(began)
    sys.stderr.write(
        f"API server away for {OUTAGE_SECONDS:.0f} s: back {answered - ended:.0f} s after its "
        f"restart, a new claim Ready {made - answered:.0f} s later, writes {longest:.1f} s apart\n"
    )
    assert longest < OUTAGE_SECONDS / 2


def test_work_goes_on_after_the_operators_and_the_api_servers_death(shop: Shop) -> None:
    checksum = shop.filled(megabytes=150)
    shop.claim("writing", shop.cluster.node_names[0], size="64Mi")
    shop.pod("writing", "writing", WRITER)
    writing = Gaps(shop, "writing")
    backups = [shop.backed_up("one")["backupId"]]
    restore(shop, "first", "one")
    shop.backup("two")
    shop.until("a restore's mover", lambda: shop.mover("restore"))
    shop.until("a backup's mover", lambda: shop.mover("backup"))
    kill_operator(shop)
    shop.until_condition("backup", "two", "Succeeded", "True")
    shop.until_condition("restore", "first", "Succeeded", "True")

    restore(shop, "second", "two")
    shop.backup("three")
    shop.until("a restore's mover", lambda: shop.mover("restore"))
    shop.until("a backup's mover", lambda: shop.mover("backup"))
    shop.backup("four")  # has hardly begun
    began = uptime()
    stop_api_server(shop)
    is_back(shop, writing, began)
    for name in ("two", "three", "four"):
        shop.until_condition("backup", name, "Succeeded", "True")
        backups.append(shop.get("backup", name)["status"]["backupId"])
    shop.until_condition("restore", "second", "Succeeded", "True")

    for claim in ("first", "second"):
        shop.pod(claim, claim, "exec sleep 3600")
    for claim in ("first", "second"):
        shop.until(f"pod {claim}", lambda claim=claim: shop.running(claim))  # type: ignore[misc]
        assert shop.checksum(claim) == checksum
    assert shop.manifests() == sorted(backups)
    assert len(shop.volumes()) == 5
    shop.until("everything put away", lambda: not shop.leftovers())
