"""Operators that are cut off or stopped without knowing: nobody acts twice, and work goes on."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from mooring.api import keys
from support.development_cluster import DevelopmentCluster
from support.faulty_api import FaultyApi
from support.operator_process import OperatorProcess
from support.shop import Shop

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
_OPERATOR = ("deployment/mooring-operator", "-n", "mooring-system")


def test_connections_that_fall_silent_are_noticed(
    operator: OperatorProcess, api: FaultyApi, shop: Shop
) -> None:
    home = shop.cluster.node_names[0]
    shop.claim("before", home, size="64Mi")
    shop.until_condition("volumeclaim", "before", "Ready", "True")
    watches = api.live_watches()
    assert watches

    api.silence()
    assert not api.live_watches()
    shop.claim("meanwhile", home, size="64Mi")
    shop.until("the watches begun anew", lambda: api.live_watches() == watches)
    shop.until_condition("volumeclaim", "meanwhile", "Ready", "True")
    shop.claim("after", home, size="64Mi")
    shop.until_condition("volumeclaim", "after", "Ready", "True")
    assert '"event": "bug"' not in operator.log()


@pytest.fixture
def two_operators(mooring: DevelopmentCluster) -> Iterator[None]:
    """The installed operator twice, for the time of a test."""
    kubectl = mooring.kubectl
    kubectl.run("scale", *_OPERATOR, "--replicas=2")
    kubectl.wait_rolled_out(_OPERATOR[0], _OPERATOR[2])
    yield
    kubectl.run("scale", *_OPERATOR, "--replicas=1")
    kubectl.wait_rolled_out(_OPERATOR[0], _OPERATOR[2])


def test_an_operator_that_was_stopped_past_its_lease_does_not_lead_again(
    two_operators: None, shop: Shop
) -> None:
    checksum, home = shop.filled(megabytes=64), shop.cluster.node_names[0]
    holder = shop.until("a leader", lambda: _holder(shop))
    (stopped,) = _processes(shop, holder.split("/")[0])
    names = ("one", "two", "three")
    for name in names:
        shop.backup(name)
    shop.until("the backups have begun", lambda: shop.mover("backup"))
    os.kill(stopped, signal.SIGSTOP)  # in the middle of it all
    try:
        successor = shop.until("a successor", lambda: _holder(shop).removeprefix(holder))
        shop.claim("late", home, size="64Mi")
        shop.backup("four")
        shop.until_condition("volumeclaim", "late", "Ready", "True")
    finally:
        os.kill(stopped, signal.SIGCONT)
    shop.until("the stopped one's end", lambda: not Path(f"/proc/{stopped}").exists())
    backups = []
    for name in (*names, "four"):
        shop.until_condition("backup", name, "Succeeded", "True")
        backups.append(shop.get("backup", name)["status"]["backupId"])
    assert _holder(shop) == successor
    shop.until("it is started again", lambda: _processes(shop, holder.split("/")[0]))
    assert shop.manifests() == sorted(backups)
    assert len(shop.volumes()) == 2
    assert shop.checksum("writer") == checksum
    shop.until("everything put away", lambda: not shop.leftovers())
    assert _holder(shop) == successor


def _holder(shop: Shop) -> str:
    lease = shop.kubectl.json("get", "lease", keys.OPERATOR_LEASE, *_OPERATOR[1:])
    return str(lease["spec"].get("holderIdentity", ""))


def _processes(shop: Shop, pod: str) -> list[int]:
    """Returns the operator's processes in a pod, as this machine counts them."""
    name = f"MOORING_POD_NAME={pod}".encode()
    return [
        process
        for process in shop.cluster.pod_processes("mooring-operator")
        if name in Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
    ]
