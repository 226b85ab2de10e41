"""What a failed test leaves for whoever looks into it, since its cluster is gone by then."""

import contextlib
import shutil
from pathlib import Path

from mooring_dev.kubectl import KubectlError
from support.shop import Shop

_KINDS = (
    "pods,jobs,pvc,volumesnapshots,volumeclaims,backups,restores,backuprepositories,backupschedules,volumes.mooring.dev,"
    "pools.mooring.dev,pv,volumesnapshotcontents,events"
)


def collect(shop: Shop, folder: Path) -> None:
    """Writes all objects, all logs, and each node's mounts and loop devices to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(shop, folder / "objects.yaml", "get", _KINDS, "-A", "-o", "yaml")
    _write(shop, folder / "overview.txt", "get", _KINDS, "-A", "-o", "wide")
    layout = shop.cluster.layout
    _copy(layout.folder / "logs", folder / "machines")
    for node in layout.nodes:
        _copy(node.folder / "var" / "log" / "pods", folder / f"{node.name}-pods")
        (folder / f"{node.name}-mounts.txt").write_text(shop.mounts(node.name))
    loops = shop.cluster.on_node(layout.nodes[0].name, "losetup", "--list", "--output-all")
    (folder / "loops.txt").write_text(loops)


def _copy(source: Path, target: Path) -> None:
    with contextlib.suppress(shutil.Error):  # logs come and go
        shutil.copytree(source, target)


def _write(shop: Shop, file: Path, *arguments: str) -> None:
    try:
        file.write_text(shop.kubectl.run(*arguments))
    except KubectlError as error:
        file.write_text(str(error))
