"""The images of single programs: pause, busybox, CoreDNS and the CSI sidecars."""

import subprocess
from pathlib import Path

from mooring_dev import toolchain
from mooring_dev.images.archives import ImageRecipe, write_archive
from mooring_dev.steps import DevError, cache_folder, digest_of, locked

_REPOSITORIES = {
    "pause": "registry.k8s.io/pause:3.10",
    "coredns": "registry.k8s.io/coredns/coredns",
    "csi-provisioner": "registry.k8s.io/sig-storage/csi-provisioner",
    "csi-resizer": "registry.k8s.io/sig-storage/csi-resizer",
    "csi-snapshotter": "registry.k8s.io/sig-storage/csi-snapshotter",
    "snapshot-controller": "registry.k8s.io/sig-storage/snapshot-controller",
    "versitygw": "docker.io/versity/versitygw",
    "local-path-provisioner": "docker.io/rancher/local-path-provisioner",
}
SIDECARS = ("csi-provisioner", "csi-resizer", "csi-snapshotter")
BUSYBOX_IMAGE = "localhost/busybox:dev"
_BUSYBOX = Path("/bin/busybox")


def image_name(program: str) -> str:
    """Returns the image name that manifests use for a program of the toolchain."""
    name = _REPOSITORIES[program]
    last = name.rpartition("/")[2]
    return name if ":" in last else f"{name}:{toolchain.version_of(toolchain.module_of(program))}"


def tool_archive(program: str) -> Path:
    """Returns the archive of one program's image, written first when it is missing."""
    binary = toolchain.tool_path(program)
    folders = {"tmp": 0o1777, "etc": 0o755}
    recipe = ImageRecipe(
        image_name(program), {program: binary}, folders=folders, entrypoint=(f"/{program}",)
    )
    return _kept(program, recipe, digest_of([str(binary).encode(), repr(recipe).encode()]))


def busybox_archive() -> Path:
    """Returns the archive of the busybox image.

    Raises:
        DevError: Debian's busybox-static is not installed.
    """
    if not _BUSYBOX.exists():
        raise DevError("/bin/busybox is missing: run `make prerequisites`")
    listed = subprocess.run([_BUSYBOX, "--list"], capture_output=True, text=True, check=True)
    links = {f"bin/{name}": "busybox" for name in listed.stdout.split() if name != "busybox"}
    recipe = ImageRecipe(
        BUSYBOX_IMAGE,
        {"bin/busybox": _BUSYBOX},
        links=links,
        folders={"tmp": 0o1777, "etc": 0o755, "root": 0o700},
        command=("sh",),
    )
    return _kept("busybox", recipe, digest_of([_BUSYBOX.read_bytes(), repr(recipe).encode()]))


def _kept(name: str, recipe: ImageRecipe, key: str) -> Path:
    folder = cache_folder() / "images"
    target = folder / f"{name}-{key}.tar"
    if not target.exists():
        with locked(folder / f"{name}.lock"):
            write_archive(recipe, target)
    return target
