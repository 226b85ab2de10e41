"""Where the command line picks its adapters; nothing else here imports them."""

from datetime import UTC, datetime
from pathlib import Path

from mooring.adapters.blobstores.directory import DirectoryBlobStore
from mooring.adapters.kubernetes import client
from mooring.adapters.kubernetes.volume_catalogue import KubernetesCatalogue
from mooring.backup.repository import Surroundings
from mooring.domain import errors
from mooring.ports import blobstores, cluster
from mooring.volumes.fleet.farewell import Farewell
from mooring.volumes.fleet.undeletion import Undeletion


class _SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


def surroundings() -> Surroundings:
    """Returns this machine's clock and randomness."""
    return Surroundings(clock=_SystemClock())


def open_store(location: Path, *, create: bool = False) -> blobstores.BlobStore:
    """Opens the store at a location: a folder.

    Args:
        location: Its path.
        create: Whether to make the folder, in a folder that exists.

    Raises:
        NotFound: There is no such folder.
        PermissionDenied: It may not be made or entered.
    """
    if create:
        try:
            location.mkdir(exist_ok=True)
        except FileExistsError as error:
            raise errors.InvalidInput(f"{location} is a file, not a folder") from error
        except FileNotFoundError as error:
            raise errors.NotFound(f"there is no folder {location.parent}: make it first") from error
        except OSError as error:
            raise errors.PermissionDenied(f"cannot make {location}: {error.strerror}") from error
    return DirectoryBlobStore(location)


def open_undeletion(kubeconfig: str | None, context: str | None) -> Undeletion:
    """Connects to a cluster, to bring back volumes from its trash.

    Raises:
        PreconditionFailed: There is no cluster to talk to.
    """
    volumes, objects = _connected(kubeconfig, context)
    return Undeletion(volumes, volumes, objects)


def open_farewell(kubeconfig: str | None, context: str | None) -> Farewell:
    """Connects to a cluster, to forget a node of it.

    Raises:
        PreconditionFailed: There is no cluster to talk to.
    """
    volumes, objects = _connected(kubeconfig, context)
    return Farewell(volumes, volumes, objects)


def open_cluster(kubeconfig: str | None, context: str | None) -> cluster.ClusterObjects:
    """Connects to a cluster.

    Raises:
        PreconditionFailed: There is none to talk to.
    """
    return client.connect(kubeconfig, context)


def _connected(
    kubeconfig: str | None, context: str | None
) -> tuple[KubernetesCatalogue, cluster.ClusterObjects]:
    objects = client.connect(kubeconfig, context)
    return KubernetesCatalogue(objects), objects
