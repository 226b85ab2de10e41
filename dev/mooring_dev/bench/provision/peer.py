"""The peer: local-path-provisioner, installed by the manifest of its own module."""

from mooring_dev import toolchain
from mooring_dev.cluster import lifecycle
from mooring_dev.images import loading, tools
from mooring_dev.kubectl import Kubectl
from mooring_dev.steps import DevError, step

PROGRAM = "local-path-provisioner"
STORAGE_CLASS = "local-path"
NAMESPACE = "local-path-storage"
_MANIFEST = "local-path-storage.yaml"
_HERE = {
    # Where the program lies in its image, and the image that every node here has.
    f"- {PROGRAM}\n            - --debug\n": f"- /{PROGRAM}\n            - --debug\n",
    "image: busybox\n": f"image: {tools.BUSYBOX_IMAGE}\n",
}


def version() -> str:
    """Returns the peer's version, such as `v0.0.30`."""
    return toolchain.version_of(toolchain.module_of(PROGRAM))


def manifest() -> str:
    """Returns the manifest that its module ships, with this cluster's image names.

    Raises:
        DevError: The manifest is not the one that this was written for.
    """
    folder = toolchain.build(toolchain.module_of(PROGRAM)) / "deploy"
    text = (folder / _MANIFEST).read_text()
    for shipped, here in _HERE.items():
        if shipped not in text:
            raise DevError(f"{_MANIFEST} of {PROGRAM} {version()} has no {shipped.strip()!r}")
        text = text.replace(shipped, here)
    return text


def install(cluster: Kubectl) -> None:
    """Loads the peer's image into every node, applies its manifest and waits until it is ready."""
    archive = tools.tool_archive(PROGRAM)
    with step(f"installing {PROGRAM} {version()}", 10):
        loading.load_everywhere(lifecycle.current(), [archive])
        cluster.apply(manifest())
        cluster.run(
            "rollout", "status", f"deployment/{PROGRAM}", "-n", NAMESPACE, "--timeout=60s",
            timeout_seconds=70,
        )  # fmt: skip
