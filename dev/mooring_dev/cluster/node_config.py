"""One node's files and programs: containerd, kubelet, kube-proxy and its pod network."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import yaml

from mooring_dev import toolchain
from mooring_dev.cluster import certificates, cgroups
from mooring_dev.cluster.control_plane import PROGRAM_PATH
from mooring_dev.cluster.layout import DNS_SERVICE_ADDRESS, ClusterLayout, NodeLayout
from mooring_dev.steps import DevError

PAUSE_IMAGE = "registry.k8s.io/pause:3.10"
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
_NODE_PROGRAMS = ("kubelet", "kube-proxy")


def write_files(
    cluster: ClusterLayout, node: NodeLayout, authority: certificates.Authority
) -> None:
    """Writes what the node finds in its /etc, and the specification of its first process."""
    etc = node.folder / "etc"
    certificates.write_secret(etc / "kubernetes/ca.crt", authority.pair.certificate)
    for name, user, group in (
        ("kubelet", f"system:node:{node.name}", "system:nodes"),
        ("kube-proxy", "system:kube-proxy", ""),
    ):
        content = authority.kubeconfig(cluster.api_url, authority.issue(user, group))
        certificates.write_secret(etc / f"kubernetes/{name}.kubeconfig", content)
    texts = {
        "kubernetes/kubelet.yaml": yaml.safe_dump(_kubelet()),
        "kubernetes/kube-proxy.yaml": yaml.safe_dump(_kube_proxy(node)),
        "containerd/config.toml": _containerd(),
        "cni/net.d/10-mooring-dev.conflist": json.dumps(_pod_network(node)),
        "hosts": _hosts(cluster),
        "hostname": f"{node.name}\n",
        "machine-id": f"{os.urandom(16).hex()}\n",
        "resolv.conf": "# No name server lies outside the cluster.\n",
    }
    for name, text in texts.items():
        file = etc / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    specification_file(node).write_text(json.dumps(_specification(cluster, node)))


def specification_file(node: NodeLayout) -> Path:
    """Returns where the node's first process reads what to run."""
    return node.folder / "init.json"


def _specification(cluster: ClusterLayout, node: NodeLayout) -> dict[str, Any]:
    containerd = shutil.which("containerd")
    if containerd is None:
        raise DevError("containerd is not installed: run `make prerequisites`")
    after_api = f"until (exec 3<>/dev/tcp/{cluster.api_address}/6443); do sleep 0.1; done"
    after_containerd = f"until [ -S {CONTAINERD_SOCKET} ]; do sleep 0.1; done"
    waiting = f"({after_containerd}; {after_api}) 2>/dev/null; exec"
    kubelet = (
        f"{waiting} /opt/mooring-dev/kubelet --config=/etc/kubernetes/kubelet.yaml"
        f" --kubeconfig=/etc/kubernetes/kubelet.kubeconfig --hostname-override={node.name}"
        f" --node-ip={node.address}"
    )
    proxy = f"{waiting} /opt/mooring-dev/kube-proxy --config=/etc/kubernetes/kube-proxy.yaml"
    programs = {
        "containerd": [containerd],
        "kubelet": ["/bin/bash", "-c", kubelet],
        "kube-proxy": ["/bin/bash", "-c", proxy],
    }
    return {
        "name": node.name,
        "setup": ["sh", str(Path(__file__).with_name("node.sh"))],
        "environment": _environment(cluster, node),
        "programs": [
            {
                "name": name,
                "argv": argv,
                "log": str(cluster.folder / "logs" / f"{node.name}-{name}.log"),
            }
            for name, argv in programs.items()
        ],
    }


def _environment(cluster: ClusterLayout, node: NodeLayout) -> dict[str, str]:
    hierarchies = [each.options for each in cgroups.hierarchies() if each.options]
    return {
        "PATH": PROGRAM_PATH,
        "NODE_NAME": node.name,
        "NODE_FOLDER": str(node.folder),
        "NODE_ADDRESS": node.address,
        "API_ADDRESS": cluster.api_address,
        "NETWORK": cluster.network,
        "OTHER_NODES": " ".join(str(n.number) for n in cluster.nodes if n != node),
        "IMAGES_FOLDER": str(cluster.images_folder),
        "BACKUPS_FOLDER": str(cluster.backups_folder),
        "PROGRAMS_FOLDER": str(toolchain.tool_path("kubelet").parent),
        "CGROUP_VERSION": "2" if cgroups.is_version_2() else "1",
        "CGROUP_HIERARCHIES": " ".join(hierarchies),
    }


def _kubelet() -> dict[str, Any]:
    none_left = ("memory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available")
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": "/etc/kubernetes/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "clusterDNS": [DNS_SERVICE_ADDRESS],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "evictionHard": dict.fromkeys(none_left, "0%"),
        "failCgroupV1": False,
        "failSwapOn": False,
        "imageGCHighThresholdPercent": 100,
        "nodeStatusUpdateFrequency": "5s",
        "oomScoreAdj": 0,
        "resolvConf": "/etc/resolv.conf",
        "serializeImagePulls": False,
        "shutdownGracePeriod": "0s",
        # Tests kill containers again and again; the back-off would rule how long they take.
        "crashLoopBackOff": {"maxContainerRestartPeriod": "5s"},
        "featureGates": {"KubeletCrashLoopBackOffMax": True},
    }


def _kube_proxy(node: NodeLayout) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "hostnameOverride": node.name,
        "clusterCIDR": "10.244.0.0/16",
        "clientConnection": {"kubeconfig": "/etc/kubernetes/kube-proxy.kubeconfig"},
        # The limits of connection tracking belong to the host; a node may not set them.
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpCloseWaitTimeout": "0s",
            "tcpEstablishedTimeout": "0s",
        },
        "iptables": {"minSyncPeriod": "0s"},
        "oomScoreAdj": 0,
    }


def _containerd() -> str:
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    return f"""version = 2

[{cri}]
sandbox_image = "{PAUSE_IMAGE}"
# Where CAP_SYS_RESOURCE is missing, the kernel refuses a lower score and runc gives up.
restrict_oom_score_adj = {str(not _may_lower_oom_score()).lower()}

[{cri}.cni]
bin_dir = "/opt/cni/bin"
conf_dir = "/etc/cni/net.d"

[{cri}.containerd]
snapshotter = "overlayfs"

[{cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[{cri}.containerd.runtimes.runc.options]
SystemdCgroup = false
"""


def _may_lower_oom_score() -> bool:
    cap_sys_resource = 24
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> cap_sys_resource & 1)
    return False


def _pod_network(node: NodeLayout) -> dict[str, Any]:
    # Point to point, not a bridge: replies from the same node must pass the packet filter again.
    addresses = {
        "type": "host-local",
        "ranges": [[{"subnet": node.pod_cidr}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": "/run/cni-addresses",
    }
    return {
        "cniVersion": "0.4.0",
        "name": "mooring-dev",
        "plugins": [
            {"type": "ptp", "ipMasq": False, "ipam": addresses},
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def _hosts(cluster: ClusterLayout) -> str:
    lines = ["127.0.0.1 localhost", f"{cluster.api_address} control"]
    lines += [f"{node.address} {node.name}" for node in cluster.nodes]
    return "\n".join(lines) + "\n"
