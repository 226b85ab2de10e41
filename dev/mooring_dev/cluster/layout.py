"""Names, addresses and folders of one checkout's cluster, so that two checkouts never meet.

All that is seen from outside the cluster's namespaces (state folder, network link, cgroup)
carries a key made from the checkout's path.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from mooring_dev.steps import CHECKOUT

SERVICE_CIDR = "10.96.0.0/16"
API_SERVICE_ADDRESS = "10.96.0.1"
DNS_SERVICE_ADDRESS = "10.96.0.10"
BACKUPS_FOLDER = Path("/srv/mooring-backups")
MAX_NODES = 9


@dataclass(frozen=True)
class NodeLayout:
    """One node's name, address and folder.

    Attributes:
        number: From 1.
        name: Its host name and Kubernetes name.
        address: Its address on the cluster's bridge.
        pod_cidr: The addresses of its pods.
        folder: Its part of the state folder on the host.
        cgroup: Its cgroup, relative to each hierarchy's root.
    """

    number: int
    name: str
    address: str
    pod_cidr: str
    folder: Path
    cgroup: str


@dataclass(frozen=True)
class ClusterLayout:
    """One cluster's names and addresses.

    Attributes:
        key: Six hexadecimal digits from the checkout's path.
        folder: The state folder; all of it goes when the cluster goes.
        network: The first three numbers of the machines' network, such as `10.201.7`.
        node_count: How many nodes it has.
    """

    key: str
    folder: Path
    network: str
    node_count: int

    @property
    def cgroup(self) -> str:
        """The cgroup that holds every process of the cluster."""
        return f"mooring-{self.key}"

    @property
    def control_cgroup(self) -> str:
        """The cgroup of the control plane."""
        return f"{self.cgroup}/control"

    @property
    def host_link(self) -> str:
        """The host's end of the link into the cluster; at most 15 characters."""
        return f"moor{self.key}"

    @property
    def api_address(self) -> str:
        """The address of the control plane on the bridge."""
        return f"{self.network}.1"

    @property
    def host_address(self) -> str:
        """The host's own address on the bridge."""
        return f"{self.network}.254"

    @property
    def api_url(self) -> str:
        """Where the API server listens."""
        return f"https://{self.api_address}:6443"

    @property
    def admin_kubeconfig(self) -> Path:
        """The administrator's kubeconfig, for use from the host."""
        return self.folder / "admin.kubeconfig"

    @property
    def backups_folder(self) -> Path:
        """The folder on the host that every node sees at `BACKUPS_FOLDER`, as if by NFS."""
        return self.folder / "backups"

    @property
    def images_folder(self) -> Path:
        """The nodes' unpacked images; it outlives a node's restart, and may lie in memory."""
        return self.folder / "images"

    def node(self, number: int) -> NodeLayout:
        """Returns the layout of one node, counted from 1."""
        name = f"node{number}"
        return NodeLayout(
            number=number,
            name=name,
            address=f"{self.network}.{10 + number}",
            pod_cidr=f"10.244.{number}.0/24",
            folder=self.folder / name,
            cgroup=f"{self.cgroup}/{name}",
        )

    @property
    def nodes(self) -> list[NodeLayout]:
        """All nodes, first to last."""
        return [self.node(number) for number in range(1, self.node_count + 1)]


def layout_of(checkout: Path = CHECKOUT, node_count: int = 2) -> ClusterLayout:
    """Returns the layout for a checkout; the same one every time.

    `MOORING_CLUSTER` adds a name, for a second cluster of one checkout.
    """
    digest = hashlib.sha256(f"{checkout.resolve()}{os.environ.get('MOORING_CLUSTER', '')}".encode())
    key = digest.hexdigest()[:6]
    state = Path(os.environ.get("MOORING_DEV_STATE", "/var/lib/mooring-dev")) / key
    network = f"10.{200 + digest.digest()[4] % 50}.{digest.digest()[5]}"
    return ClusterLayout(key=key, folder=state, network=network, node_count=node_count)
