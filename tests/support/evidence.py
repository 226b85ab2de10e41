"""What a failed test leaves for whoever looks into it, since its cluster is gone by then."""

from pathlib import Path

from mooring_dev.kubectl import KubectlError
from support.shop import Shop

_KINDS = (
    "pods,jobs,pvc,volumesnapshots,volumeclaims,backups,restores,backuprepositories,backupschedules,volumes.mooring.dev,"
    "pools.mooring.dev,pv,volumesnapshotcontents,events"
)
_SYSTEM = ("-n", "mooring-system")


def collect(shop: Shop, folder: Path) -> None:
    """Writes all objects, the logs of Mooring's containers and each node's mounts to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(shop, folder / "objects.yaml", "get", _KINDS, "-A", "-o", "yaml")
    _write(shop, folder / "overview.txt", "get", _KINDS, "-A", "-o", "wide")
    pods = shop.kubectl.json("get", "pods", *_SYSTEM)["items"]
    for pod in pods:
        name = pod["metadata"]["name"]
        for container in pod["spec"]["containers"]:
            log = ("logs", name, *_SYSTEM, "-c", container["name"])
            _write(shop, folder / f"{name}-{container['name']}.log", *log)
            _write(shop, folder / f"{name}-{container['name']}-before.log", *log, "-p")
    for node in shop.cluster.node_names:
        (folder / f"{node}-mounts.txt").write_text(shop.mounts(node))


def _write(shop: Shop, file: Path, *arguments: str) -> None:
    try:
        file.write_text(shop.kubectl.run(*arguments))
    except KubectlError as error:
        file.write_text(str(error))
