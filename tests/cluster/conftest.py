"""Fixtures of the cluster tier: a control plane alone, and one cluster of nodes for all tests."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from mooring.api import generate
from mooring_dev.cluster import lifecycle
from mooring_dev.demo import installing
from mooring_dev.kubectl import Kubectl
from mooring_dev.prerequisites import check_machine
from mooring_dev.steps import DevError
from support import api_server, proxied_operator
from support.development_cluster import DevelopmentCluster
from support.faulty_api import FaultyApi
from support.operator_process import OperatorProcess
from support.shop import Shop, opened


@pytest.fixture(scope="session")
def cluster() -> Iterator[DevelopmentCluster]:
    """A running cluster of two nodes, stopped at the end.

    With MOORING_KEEP_CLUSTER=1 a running one is used and left running.
    """
    try:
        check_machine()
    except DevError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    keep = bool(os.environ.get("MOORING_KEEP_CLUSTER"))
    seen = lifecycle.status()
    is_running = seen.cluster and all(seen.nodes.values())
    layout = lifecycle.current() if keep and is_running else lifecycle.up(2)
    yield DevelopmentCluster(layout, lifecycle.kubectl_of(layout))
    if not keep:
        lifecycle.down()


@pytest.fixture
def kubectl(cluster: DevelopmentCluster) -> Kubectl:
    """kubectl as the cluster's administrator."""
    return cluster.kubectl


@pytest.fixture
def namespace(kubectl: Kubectl) -> Iterator[str]:
    """A namespace of its own for one test."""
    name = f"test-{secrets.token_hex(3)}"
    kubectl.run("create", "namespace", name)
    yield name
    kubectl.run("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def mooring(cluster: DevelopmentCluster) -> DevelopmentCluster:
    """The cluster with Mooring on it, installed as a user would."""
    if cluster.kubectl.find("daemonset", "mooring-csi-node", "-n", "mooring-system") is None:
        installing.install(cluster.kubectl)
    return cluster


@pytest.fixture
def shop(mooring: DevelopmentCluster) -> Iterator[Shop]:
    """A tenant of its own for one test."""
    with opened(mooring) as found:
        yield found


@pytest.fixture
def api(mooring: DevelopmentCluster) -> Iterator[FaultyApi]:
    """A proxy before the cluster's API server that fails when it is told to."""
    with proxied_operator.serving_api(mooring) as proxy:
        yield proxy


@pytest.fixture
def operator(
    mooring: DevelopmentCluster, api: FaultyApi, tmp_path: Path
) -> Iterator[OperatorProcess]:
    """An operator behind that proxy, in place of the installed one."""
    with proxied_operator.running_operator(mooring, api, tmp_path) as process:
        yield process


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[api_server.ApiServer]:
    """A real API server that knows Mooring's kinds."""
    folder: Path = tmp_path_factory.mktemp("control-plane")
    with api_server.running(folder) as server:
        crds = [text for name, text in generate.generated_files().items() if "/crds/" in name]
        server.must("apply", "--server-side", "-f", "-", stdin="---\n".join(crds))
        server.must(
            "wait", "--for=condition=Established", "crd", "-l", "app.kubernetes.io/name=mooring"
        )
        yield server
