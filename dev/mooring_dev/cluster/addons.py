"""What every cluster has besides its nodes: DNS, and the snapshot kinds with their controller."""

from pathlib import Path

from mooring_dev import toolchain
from mooring_dev.cluster.layout import DNS_SERVICE_ADDRESS
from mooring_dev.images import tools
from mooring_dev.kubectl import Kubectl

DEPLOYMENTS = ("coredns", "snapshot-controller")
_MANIFESTS = Path(__file__).with_name("manifests")


def apply(kubectl: Kubectl) -> None:
    """Applies the add-ons; safe to repeat."""
    crds = [path.read_text() for path in toolchain.snapshot_crds()]
    texts = [path.read_text() for path in sorted(_MANIFESTS.glob("*.yaml"))]
    manifest = "\n---\n".join([*crds, *texts])
    for name, value in {
        "DNS_SERVICE_ADDRESS": DNS_SERVICE_ADDRESS,
        "COREDNS_IMAGE": tools.image_name("coredns"),
        "SNAPSHOT_CONTROLLER_IMAGE": tools.image_name("snapshot-controller"),
    }.items():
        manifest = manifest.replace(f"${{{name}}}", value)
    kubectl.run("apply", "--server-side", "-f", "-", stdin=manifest)
