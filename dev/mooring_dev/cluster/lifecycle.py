"""Starts and stops the development cluster, and says what it waits for."""

import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from mooring_dev import toolchain
from mooring_dev.cluster import addons, control_plane, leftovers, loops, machines, node_config
from mooring_dev.cluster.layout import MAX_NODES, ClusterLayout, NodeLayout, layout_of
from mooring_dev.images import loading
from mooring_dev.kubectl import Kubectl, KubectlError, WaitError, condition
from mooring_dev.steps import DevError, cache_folder, locked, run, say, step

READY_SECONDS = 90.0


@dataclass(frozen=True)
class Status:
    """What `cluster status` shows: which processes of the cluster run."""

    cluster: bool
    nodes: dict[str, bool]


def current() -> ClusterLayout:
    """Returns the layout of this checkout's cluster, with its number of nodes when it exists."""
    cluster = layout_of()
    record = cluster.folder / "cluster.json"
    if not record.exists():
        return cluster
    written = json.loads(record.read_text())
    return replace(cluster, node_count=written["nodes"], network=written["network"])


def kubectl_of(cluster: ClusterLayout) -> Kubectl:
    """Returns kubectl for a cluster, as its administrator."""
    return Kubectl(toolchain.tool_path("kubectl"), cluster.admin_kubeconfig)


def up(node_count: int = 2) -> ClusterLayout:
    """Starts a fresh cluster, removing what an earlier one left, and waits until it is ready.

    Raises:
        DevError: It did not become ready; says what was waited for.
    """
    if not 1 <= node_count <= MAX_NODES:
        raise DevError(f"--nodes is from 1 to {MAX_NODES}, not {node_count}")
    toolchain.build_all()
    images = loading.base_archives()
    cluster = layout_of(node_count=node_count)
    with locked(cache_folder() / f"cluster-{cluster.key}.lock"), step("starting the cluster", 15):
        leftovers.remove_all(cluster)
        cluster = replace(cluster, network=_free_network(cluster.network))
        _write_state(cluster)
        say("  control plane")
        machines.start_cluster(cluster)
        with ThreadPoolExecutor() as pool:
            nodes = pool.map(lambda node: _start_node(cluster, node, images), cluster.nodes)
            kubectl = kubectl_of(cluster)
            _wait(kubectl, "the API server", lambda: kubectl.run("get", "--raw=/readyz"))
            say("  API server")
            addons.apply(kubectl)
            list(nodes)
        _wait_ready(cluster, kubectl)
    say(f"  kubeconfig: {cluster.admin_kubeconfig}")
    return cluster


def _write_state(cluster: ClusterLayout) -> None:
    cluster.backups_folder.mkdir(parents=True)
    cluster.folder.chmod(0o700)
    (cluster.folder / "control" / "etcd").mkdir(parents=True, mode=0o700)
    authority = control_plane.write_credentials(cluster)
    for node in cluster.nodes:
        node_config.write_files(cluster, node, authority)
    record = {"nodes": cluster.node_count, "network": cluster.network}
    (cluster.folder / "cluster.json").write_text(json.dumps(record))


def _free_network(wanted: str) -> str:
    routes = Path("/proc/net/fib_trie").read_text()
    first, second, third = (int(part) for part in wanted.split("."))
    for offset in range(256):
        network = f"{first}.{second}.{(third + offset) % 256}"
        if f" {network}." not in routes:
            return network
    raise DevError(f"all networks {first}.{second}.0/16 are in use on this machine")


def _start_node(cluster: ClusterLayout, node: NodeLayout, images: Iterable[Path]) -> None:
    machines.start_node(cluster, node)
    for image in images:
        loading.load(node, image)
    say(f"  {node.name}: on, with its base images")


def _wait(kubectl: Kubectl, what: str, seen: Callable[[], object]) -> None:
    try:
        kubectl.wait_for(what, seen, timeout_seconds=READY_SECONDS)
    except WaitError as error:
        raise DevError(f"not ready: {error}") from error


def _wait_ready(cluster: ClusterLayout, kubectl: Kubectl) -> None:
    for node in cluster.nodes:
        _wait(kubectl, node.name, lambda name=node.name: _is_ready(kubectl, name))  # type: ignore[misc]
    say("  nodes ready")
    for name in addons.DEPLOYMENTS:
        try:
            kubectl.wait_rolled_out(
                f"deployment/{name}", "kube-system", timeout_seconds=READY_SECONDS
            )
        except KubectlError as error:
            raise DevError(f"{name} did not become ready: {error}") from error
    say(f"  ready: {', '.join(addons.DEPLOYMENTS)}")


def _is_ready(kubectl: Kubectl, name: str, boot_id: str = "") -> bool:
    found = kubectl.find("node", name) or {}
    seen_boot_id = found.get("status", {}).get("nodeInfo", {}).get("bootID")
    if boot_id and seen_boot_id != boot_id:
        return False
    return condition(found, "Ready").get("status") == "True"


def down() -> None:
    """Stops the cluster and removes all that it made; does nothing when there is none.

    Raises:
        DevError: Something could not be removed.
    """
    cluster = current()
    with (
        locked(cache_folder() / f"cluster-{cluster.key}.lock"),
        step("removing the cluster and all that it made"),
    ):
        leftovers.remove_all(cluster)


def status() -> Status:
    """Returns which machines of the cluster run."""
    cluster = current()
    running = machines.cluster_process(cluster) is not None
    nodes = {node.name: machines.node_process(node) is not None for node in cluster.nodes}
    return Status(running, nodes if cluster.folder.exists() else {})


def node_named(cluster: ClusterLayout, name: str) -> NodeLayout:
    """Returns a node by its name or number.

    Raises:
        DevError: The cluster has no such node.
    """
    for node in cluster.nodes:
        if name in (node.name, str(node.number)):
            return node
    raise DevError(f"no node {name!r}; there are {', '.join(n.name for n in cluster.nodes)}")


def stop_node(name: str) -> None:
    """Switches a node off as if its plug were pulled."""
    node = node_named(current(), name)
    held = loops.owned(node.folder)
    machines.stop_node(node)
    leftovers.detach_node_loops(node, held)


def start_node(name: str) -> None:
    """Switches a node on again and waits until Kubernetes calls it ready."""
    cluster = current()
    node = node_named(cluster, name)
    machines.start_node(cluster, node)
    kubectl = kubectl_of(cluster)
    boot_id = run([*machines.inside_node(node), "cat", "/proc/sys/kernel/random/boot_id"]).strip()
    # Kubernetes calls it ready for a while after it is gone: only this boot's word counts.
    _wait(kubectl, node.name, lambda: _is_ready(kubectl, node.name, boot_id))
