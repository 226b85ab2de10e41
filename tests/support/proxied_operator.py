"""An operator of ours behind a faulty API server, in place of the installed one."""

import base64
import contextlib
import ssl
from collections.abc import Iterator
from pathlib import Path

import yaml

from mooring_dev.cluster import machines
from support.development_cluster import DevelopmentCluster
from support.faulty_api import FaultyApi
from support.operator_process import OperatorProcess

_OPERATOR = ("deployment/mooring-operator", "-n", "mooring-system")


def _context(cluster: DevelopmentCluster) -> ssl.SSLContext:
    document = yaml.safe_load(cluster.kubeconfig.read_text())
    authority = document["clusters"][0]["cluster"]["certificate-authority-data"]
    return ssl.create_default_context(cadata=base64.b64decode(authority).decode())


def _kubeconfig(cluster: DevelopmentCluster, server: str, folder: Path) -> Path:
    account = ("mooring-operator", "-n", "mooring-system", "--duration=1h")
    token = cluster.kubectl.run("create", "token", *account).strip()
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "proxy", "cluster": {"server": server}}],
        "users": [{"name": "operator", "user": {"token": token}}],
        "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "operator"}}],
        "current-context": "proxy",
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(document))
    path.chmod(0o600)
    return path


@contextlib.contextmanager
def serving_api(mooring: DevelopmentCluster) -> Iterator[FaultyApi]:
    """A proxy before the cluster's API server."""
    layout = mooring.layout
    proxy = FaultyApi(layout.host_address, layout.api_url, _context(mooring))
    with proxy.serving():
        yield proxy


@contextlib.contextmanager
def running_operator(
    mooring: DevelopmentCluster, api: FaultyApi, folder: Path
) -> Iterator[OperatorProcess]:
    """An operator of ours behind the proxy, in place of the installed one."""
    kubectl = mooring.kubectl
    containers = kubectl.json("get", *_OPERATOR)["spec"]["template"]["spec"]["containers"]
    kubectl.run("scale", *_OPERATOR, "--replicas=0")
    outer = machines.cluster_process(mooring.layout)
    # Where the nodes' agents can be reached.
    prefix = ["nsenter", "-t", str(outer), "-n", "--"]
    kubeconfig = _kubeconfig(mooring, api.url, folder)
    process = OperatorProcess(kubeconfig, folder, containers[0]["image"], prefix)
    process.start()
    try:
        yield process
    finally:
        process.stop()
        kubectl.run("scale", *_OPERATOR, "--replicas=1")
        kubectl.run("rollout", "status", *_OPERATOR, "--timeout=90s", timeout_seconds=100)
