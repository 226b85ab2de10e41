"""The control plane's files and programs: etcd, API server, controller manager, scheduler."""

from pathlib import Path
from typing import Any

from mooring_dev import toolchain
from mooring_dev.cluster import certificates
from mooring_dev.cluster.layout import API_SERVICE_ADDRESS, SERVICE_CIDR, ClusterLayout
from mooring_dev.steps import patient

IN_MEMORY_FROM_BYTES = 12 * 1024**3
PROGRAM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def write_credentials(cluster: ClusterLayout) -> certificates.Authority:
    """Writes the control plane's keys, certificates and kubeconfigs, and returns the authority."""
    authority = certificates.Authority()
    keys = keys_folder(cluster)
    certificates.write_pair(keys, "ca", authority.pair)
    hosts = (
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
        "127.0.0.1",
        API_SERVICE_ADDRESS,
        cluster.api_address,
    )
    certificates.write_pair(keys, "apiserver", authority.issue("kube-apiserver", hosts=hosts))
    certificates.write_pair(keys, "kubelet-client", authority.issue("apiserver", "system:masters"))
    certificates.write_secret(keys / "tokens.key", certificates.new_signing_key())
    for name in ("kube-controller-manager", "kube-scheduler"):
        content = authority.kubeconfig(cluster.api_url, authority.issue(f"system:{name}"))
        certificates.write_secret(keys / f"{name}.kubeconfig", content)
    admin = authority.issue("admin", "system:masters")
    certificates.write_secret(
        cluster.admin_kubeconfig, authority.kubeconfig(cluster.api_url, admin)
    )
    return authority


def keys_folder(cluster: ClusterLayout) -> Path:
    """Returns the folder of the control plane's keys."""
    return cluster.folder / "control" / "keys"


def specification(cluster: ClusterLayout) -> dict[str, Any]:
    """Returns what the cluster's first process prepares and keeps running."""
    programs = {
        "etcd": _etcd(cluster),
        "kube-apiserver": _api_server(cluster),
        "kube-controller-manager": _controller_manager(cluster),
        "kube-scheduler": [
            f"--kubeconfig={keys_folder(cluster)}/kube-scheduler.kubeconfig",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
        ],
    }
    return {
        "name": "control",
        "setup": ["sh", str(Path(__file__).with_name("control_plane.sh"))],
        "environment": {
            "PATH": PROGRAM_PATH,
            "API_ADDRESS": cluster.api_address,
            "HOST_ADDRESS": cluster.host_address,
            "IMAGES_FOLDER": str(cluster.images_folder),
            "IMAGES_IN_MEMORY": "1" if _has_much_memory() else "0",
            "NETWORK": cluster.network,
            "NODES": " ".join(str(node.number) for node in cluster.nodes),
        },
        "programs": [
            {
                "name": name,
                "argv": [str(toolchain.tool_path(name)), *arguments],
                "log": str(cluster.folder / "logs" / f"{name}.log"),
            }
            for name, arguments in programs.items()
        ],
    }


def _has_much_memory() -> bool:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024 >= IN_MEMORY_FROM_BYTES
    return False


def _etcd(cluster: ClusterLayout) -> list[str]:
    return [
        f"--data-dir={cluster.folder}/control/etcd",
        "--listen-client-urls=http://127.0.0.1:2379",
        "--advertise-client-urls=http://127.0.0.1:2379",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def _api_server(cluster: ClusterLayout) -> list[str]:
    keys = keys_folder(cluster)
    return [
        "--etcd-servers=http://127.0.0.1:2379",
        "--bind-address=0.0.0.0",
        f"--advertise-address={cluster.api_address}",
        "--secure-port=6443",
        f"--tls-cert-file={keys}/apiserver.crt",
        f"--tls-private-key-file={keys}/apiserver.key",
        f"--client-ca-file={keys}/ca.crt",
        f"--kubelet-client-certificate={keys}/kubelet-client.crt",
        f"--kubelet-client-key={keys}/kubelet-client.key",
        "--kubelet-preferred-address-types=InternalIP",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={keys}/tokens.key",
        f"--service-account-signing-key-file={keys}/tokens.key",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        "--enable-aggregator-routing=true",
        "--profiling=false",
    ]


def _controller_manager(cluster: ClusterLayout) -> list[str]:
    keys = keys_folder(cluster)
    return [
        f"--kubeconfig={keys}/kube-controller-manager.kubeconfig",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={keys}/tokens.key",
        f"--root-ca-file={keys}/ca.crt",
        f"--cluster-signing-cert-file={keys}/ca.crt",
        f"--cluster-signing-key-file={keys}/ca.key",
        # A node that is off is seen within seconds here, and not within a minute.
        "--node-monitor-period=2s",
        f"--node-monitor-grace-period={patient(20):.0f}s",
    ]
