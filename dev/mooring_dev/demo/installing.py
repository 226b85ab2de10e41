"""Installs Mooring into the development cluster as a user would: images, then `apply -k`."""

from pathlib import Path

from mooring_dev.cluster import lifecycle
from mooring_dev.images import loading, sets
from mooring_dev.kubectl import Kubectl
from mooring_dev.steps import step

MANIFESTS = Path(__file__).resolve().parents[3] / "deploy" / "manifests"
WORKLOADS = (
    "deployment/mooring-operator",
    "deployment/mooring-csi-controller",
    "daemonset/mooring-csi-node",
)


def install(kubectl: Kubectl) -> None:
    """Loads the images, applies the manifests and waits until every part is ready.

    Raises:
        KubectlError: A part did not become ready; the message names it.
    """
    archives = sets.everything()
    with step("loading images into the nodes", 30):
        loading.load_everywhere(lifecycle.current(), archives)
    with step("installing Mooring", 15):
        kubectl.run("apply", "-k", str(MANIFESTS))
        for workload in WORKLOADS:
            kubectl.wait_rolled_out(workload, "mooring-system")
        kubectl.wait_for(
            "free space of every node",
            lambda: _capacity_known(kubectl),
            timeout_seconds=60,
        )


def _capacity_known(kubectl: Kubectl) -> bool:
    nodes = len(kubectl.json("get", "nodes")["items"])
    found = kubectl.json("get", "csistoragecapacities", "-n", "mooring-system")["items"]
    ready = [item for item in found if item.get("capacity", "0") != "0"]
    classes = {item["storageClassName"] for item in ready}
    return bool(classes) and len(ready) >= nodes * len(classes)
