"""Careless deletions on real nodes: objects, kinds and the whole of Mooring go, the data stays."""

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from mooring_dev.demo import installing
from mooring_dev.kubectl import Kubectl
from support.development_cluster import DevelopmentCluster
from support.shop import Shop

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
_UNINSTALL_SECONDS = 60.0


@pytest.fixture(autouse=True)
def installed_again(mooring: DevelopmentCluster, shop: Shop) -> object:
    """Leaves Mooring in place for the tests that follow, whatever becomes of this one."""
    del shop
    yield
    _install(mooring.kubectl)


def _install(kubectl: Kubectl) -> None:
    """Applies the manifests until all is there.

    What still ends needs a second time, as with any tool that applies until it is so.
    """
    kubectl.wait_for("all objects", lambda: _applied(kubectl), timeout_seconds=120)
    for workload in installing.WORKLOADS:
        kubectl.wait_rolled_out(workload, "mooring-system")


def _applied(kubectl: Kubectl) -> bool:
    kubectl.run("apply", "-k", str(installing.MANIFESTS))
    kinds = kubectl.json("get", "crd", "-l", "app.kubernetes.io/name=mooring")["items"]
    return not any("deletionTimestamp" in kind["metadata"] for kind in kinds)


def _places(shop: Shop) -> dict[str, str]:
    """Where each volume of the shop is, by its id, once its node has said so."""
    try:
        found = shop.volumes()
    except Exception:  # the kind itself is gone for a while
        return {}
    live = [one for one in found if one.get("status", {}).get("state") == "Ready"]
    return {one["metadata"]["name"]: one["spec"]["node"] for one in live}


def _reads(shop: Shop, pod: str, claim: str) -> str:
    shop.pod(pod, claim, "exec sleep 3600")
    shop.until(f"pod {pod}", lambda: shop.running(pod))
    return shop.checksum(pod)


def _kinds_first(kubectl: Kubectl) -> None:
    """As the README says: the kinds while the operator runs, then everything else."""
    _delete(kubectl, "crd", "-l", "app.kubernetes.io/name=mooring")
    _delete(kubectl, "-k", str(installing.MANIFESTS))


def _all_at_once(kubectl: Kubectl) -> None:
    """Without the README: what has something to put away waits for an operator that is gone."""
    _delete(kubectl, "-k", str(installing.MANIFESTS), "--wait=false")
    _until_no_pods(kubectl)


def _namespace_first(kubectl: Kubectl) -> None:
    _delete(kubectl, "namespace", "mooring-system")
    _until_no_pods(kubectl)
    _delete(kubectl, "-k", str(installing.MANIFESTS), "--wait=false")


def _delete(kubectl: Kubectl, *what: str) -> None:
    kubectl.run(
        *("delete", *what, "--ignore-not-found", f"--timeout={_UNINSTALL_SECONDS:.0f}s"),
        timeout_seconds=_UNINSTALL_SECONDS + 10,
    )


def _until_no_pods(kubectl: Kubectl) -> None:
    kubectl.wait_for(
        "the end of Mooring's pods",
        lambda: not kubectl.json("get", "pods", "-n", "mooring-system")["items"],
        timeout_seconds=_UNINSTALL_SECONDS,
    )


def test_volume_objects_that_are_deleted_come_back_as_they_were(shop: Shop) -> None:
    content = shop.filled(8)
    before = shop.until("its volume", lambda: _places(shop))
    names = list(before)
    shop.kubectl.run("delete", "volumes.mooring.dev", *names)
    assert shop.until("the volume to come back", lambda: _places(shop)) == before
    shop.delete("pod", "writer")
    assert _reads(shop, "reader", "data") == content


@pytest.mark.parametrize("uninstall", [_kinds_first, _all_at_once, _namespace_first])
def test_without_mooring_the_data_stays_and_a_new_one_adopts_it(
    shop: Shop, uninstall: Callable[[Kubectl], None]
) -> None:
    content = shop.filled(8)
    shop.kubectl.run(
        *("patch", "vcl", "data", "-n", shop.namespace, "--type=merge"),
        *("-p", json.dumps({"spec": {"deletionPolicy": "Delete"}})),
    )
    before = shop.until("its volume", lambda: _places(shop))
    uninstall(shop.kubectl)
    assert shop.checksum("writer") == content, "the pod goes on without Mooring"
    _install(shop.kubectl)
    assert shop.until("the volume to come back", lambda: _places(shop)) == before
    assert shop.get("pvc", "data")["status"]["phase"] == "Bound"
    shop.delete("pod", "writer")
    assert _reads(shop, "reader", "data") == content


def test_a_claim_that_was_deleted_comes_back_from_the_trash(shop: Shop) -> None:
    content = shop.filled(8)
    (volume_id,) = shop.until("its volume", lambda: _places(shop))
    for kind, name in (("pod", "writer"), ("vcl", "data"), ("pvc", "data")):
        shop.delete(kind, name)

    def in_trash() -> str | None:
        for one in shop.volumes():
            if one.get("status", {}).get("trashedFrom") == volume_id:
                return str(one["status"]["state"])
        return None

    assert shop.until("the volume in the trash", in_trash) == "Trashed"
    done = subprocess.run(
        [sys.executable, "-m", "mooring_cli.main", "undelete", f"{shop.namespace}/data",
         "--kubeconfig", str(shop.cluster.kubeconfig)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    shop.kubectl.apply(done.stdout.split("---\n")[1])
    assert _reads(shop, "reader", "data") == content
