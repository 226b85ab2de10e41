"""Careless deletions on real nodes: objects, kinds and the whole of Mooring go, the data stays."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator

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


def _trashed(shop: Shop, volume_id: str) -> str | None:
    for one in shop.volumes():
        if one.get("status", {}).get("trashedFrom") == volume_id:
            return str(one["status"]["state"])
    return None


def _undeleted(shop: Shop, what: str, *more: str) -> str:
    """Brings a volume back by command; returns the claim to apply."""
    done = subprocess.run(
        [sys.executable, "-m", "mooring_cli.main", "undelete", what, *more,
         "--kubeconfig", str(shop.cluster.kubeconfig)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split("---\n")[1]


def _policy(shop: Shop) -> str:
    name = shop.get("pvc", "data")["spec"]["volumeName"]
    return str(shop.get("pv", name)["spec"]["persistentVolumeReclaimPolicy"])


@contextlib.contextmanager
def _tenant(shop: Shop) -> Iterator[Shop]:
    """A second tenant, whose namespace the test deletes."""
    name = f"{shop.namespace}-b"
    shop.kubectl.run("create", "namespace", name)
    tenant = Shop(shop.cluster, name)
    yield tenant
    tenant.let_go()
    shop.kubectl.run("delete", "namespace", name, "--ignore-not-found", "--wait=false")


def _end_of(tenant: Shop) -> None:
    tenant.kubectl.run(
        "delete", "namespace", tenant.namespace, "--timeout=120s", timeout_seconds=130
    )


def test_a_claim_that_was_deleted_comes_back_from_the_trash(shop: Shop) -> None:
    content = shop.filled(8, deletionPolicy="Delete")
    (volume_id,) = shop.until("its volume", lambda: _places(shop))
    for kind, name in (("pod", "writer"), ("vcl", "data")):
        shop.delete(kind, name)
    state = shop.until("the volume in the trash", lambda: _trashed(shop, volume_id))
    assert state == "Trashed"
    shop.kubectl.apply(_undeleted(shop, f"{shop.namespace}/data"))
    assert _reads(shop, "reader", "data") == content


def test_a_tenant_that_is_deleted_leaves_its_volumes(shop: Shop) -> None:
    with _tenant(shop) as tenant:
        content = tenant.filled(8)
        (volume_id,) = tenant.until("its volume", lambda: _places(tenant))
        tenant.until("it to be kept", lambda: _policy(tenant) == "Retain")
        _end_of(tenant)
        (kept,) = shop.until("the volume to be released", tenant.kept)
        assert volume_id in _places(tenant), "it is there, and not in the trash"
        shop.kubectl.run("delete", "pv", kept["metadata"]["name"])
        claim = _undeleted(shop, volume_id, "--claim", f"{shop.namespace}/back")
        shop.kubectl.apply(claim)
        assert _reads(shop, "reader", "back") == content


def test_a_tenant_that_is_deleted_takes_along_what_it_said_to_delete(shop: Shop) -> None:
    with _tenant(shop) as tenant:
        content = tenant.filled(8)
        tenant.until("it to be kept", lambda: _policy(tenant) == "Retain")
        (volume_id,) = tenant.until("its volume", lambda: _places(tenant))
        patch = json.dumps({"spec": {"deletionPolicy": "Delete"}})
        namespace = ("-n", tenant.namespace)
        tenant.kubectl.run("patch", "vcl", "data", *namespace, "--type=merge", "-p", patch)
        tenant.until("it to be kept no more", lambda: _policy(tenant) == "Delete")
        _end_of(tenant)
        state = tenant.until("the volume in the trash", lambda: _trashed(tenant, volume_id))
        assert state == "Trashed"
        claim = _undeleted(shop, f"{tenant.namespace}/data", "--claim", f"{shop.namespace}/back")
        shop.kubectl.apply(claim)
        assert _reads(shop, "reader", "back") == content


def test_a_claim_without_a_volume_claim_goes_to_the_trash_with_its_tenant(shop: Shop) -> None:
    with _tenant(shop) as tenant:
        size = {"requests": {"storage": "256Mi"}}
        spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": "mooring", "resources": size}
        tenant.create("PersistentVolumeClaim", "data", spec, "v1")
        tenant.pod("writer", "data", "echo good >/data/file && sync && exec sleep 3600")
        tenant.until("the writer", lambda: tenant.running("writer"))
        (volume_id,) = tenant.until("its volume", lambda: _places(tenant))
        assert _policy(tenant) == "Delete"
        _end_of(tenant)
        state = tenant.until("the volume in the trash", lambda: _trashed(tenant, volume_id))
        assert state == "Trashed"
