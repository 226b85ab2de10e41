"""What the development cluster needs of the machine: each missing thing is one clear line."""

import os
import shutil
from pathlib import Path

from mooring_dev.steps import DevError, cache_folder, run, say, step

MIN_FREE_BYTES = 12 * 1024**3
# A program or file that shows a package to be there, since only its use counts.
_PACKAGES = {
    "bash": "bash",
    "borgbackup": "borg",
    "btrfs-progs": "mkfs.btrfs",
    "buildah": "buildah",
    "busybox-static": "/bin/busybox",
    "conntrack": "conntrack",
    "containerd": "containerd",
    "containernetworking-plugins": "/usr/lib/cni/ptp",
    "e2fsprogs": "mkfs.ext4",
    "fio": "fio",
    "iproute2": "ip",
    "iptables": "iptables",
    "kmod": "modprobe",
    "mmdebstrap": "mmdebstrap",
    "restic": "restic",
    "runc": "runc",
    "socat": "socat",
    "strace": "strace",
    "util-linux": "unshare",
    "xfsprogs": "mkfs.xfs",
}
_FILESYSTEMS = ("ext4", "xfs", "btrfs", "overlay")


def check_machine() -> None:
    """Checks what no package can give.

    Raises:
        DevError: Something is missing; every missing thing has a line.
    """
    missing = []
    if os.geteuid() != 0:
        missing.append("not root: loop devices, mounts and namespaces need it")
    if not Path("/dev/loop-control").exists():
        run(["modprobe", "loop"], timeout_seconds=20) if shutil.which("modprobe") else None
        if not Path("/dev/loop-control").exists():
            missing.append("no loop devices: /dev/loop-control does not exist")
    missing += [f"no {name} in this kernel" for name in _FILESYSTEMS if not _has_filesystem(name)]
    missing += [
        f"no {name} namespaces in this kernel"
        for name in ("net", "mnt", "pid", "uts", "ipc", "cgroup")
        if not Path(f"/proc/self/ns/{name}").exists()
    ]
    for folder in (cache_folder(), Path("/var/lib")):
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if free < MIN_FREE_BYTES:
            have, need = free / 1024**3, MIN_FREE_BYTES / 1024**3
            missing.append(f"too little disk at {folder}: {have:.1f} GiB free, {need:.0f} needed")
    if missing:
        raise DevError("this machine cannot run the cluster: " + "; ".join(missing))


def _has_filesystem(name: str) -> bool:
    if f"\t{name}\n" in Path("/proc/filesystems").read_text():
        return True
    if shutil.which("modprobe") is None:
        return False
    try:
        run(["modprobe", name], timeout_seconds=20)
    except DevError:
        return False
    return f"\t{name}\n" in Path("/proc/filesystems").read_text()


def install_missing() -> None:
    """Installs the Debian packages whose programs are not there.

    Raises:
        DevError: A package is missing and apt-get could not install it.
    """
    missing = [package for package, proof in _PACKAGES.items() if not _is_there(proof)]
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise DevError(f"install these packages first: {' '.join(missing)}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    with step(f"installing {' '.join(missing)}", 60):
        run(["apt-get", "update", "-qq"], timeout_seconds=300)
        run(
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing],
            timeout_seconds=900,
            environment=quiet,
        )
    still = [package for package in missing if not _is_there(_PACKAGES[package])]
    if still:
        raise DevError(f"installed, but their programs are still missing: {' '.join(still)}")
    say("  Debian packages are complete")


def _is_there(proof: str) -> bool:
    return Path(proof).exists() if proof.startswith("/") else shutil.which(proof) is not None
