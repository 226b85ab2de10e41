"""Where the command line picks its adapters; nothing else here imports them.

What only some commands need is imported when they ask for it: a backup of a file into a folder
shall not wait for the client of a cluster to load.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mooring.adapters.blobstores import opening
from mooring.backup.repository import Surroundings
from mooring.domain import backups, store_locations
from mooring.ports import blobstores
from mooring_cli import silence

if TYPE_CHECKING:
    from mooring.adapters.host import base_clones
    from mooring.adapters.kubernetes.volume_catalogue import KubernetesCatalogue
    from mooring.backup import mover_spec
    from mooring.ports import cluster, images
    from mooring.volumes.fleet.farewell import Farewell
    from mooring.volumes.fleet.recovery import Recovery
    from mooring.volumes.fleet.undeletion import Undeletion

CREDENTIALS_VARIABLE = "MOORING_STORE_CREDENTIALS"
CA_BUNDLE_VARIABLE = "MOORING_STORE_CA_BUNDLE"


class _SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


def surroundings() -> Surroundings:
    """Returns this machine's clock and randomness."""
    return Surroundings(clock=_SystemClock())


def open_store(
    location: str, *, create: bool = False, told: silence.Told = silence.tell_people
) -> blobstores.BlobStore:
    """Opens the store that a person names, with what the environment says of a bucket.

    Args:
        location: A folder's path or a bucket's URL; see `store_locations`.
        create: Whether to make the folder, in a folder that exists.
        told: Told when a folder does not answer.

    Raises:
        InvalidInput: It is no location.
        NotFound: There is no such folder.
        PermissionDenied: It may not be made or entered.
    """
    return opening.open_store(
        store_locations.parse(location),
        credentials=_path_of(CREDENTIALS_VARIABLE),
        ca_bundle=_path_of(CA_BUNDLE_VARIABLE),
        create=create,
        told=told,
    )


def open_mover_store(spec: mover_spec.RepositorySpec, told: silence.Told) -> blobstores.BlobStore:
    """Opens the store that a mover's spec names; the environment has no say in it.

    Args:
        spec: Names it.
        told: Told when a folder does not answer.

    Raises:
        InvalidInput: It is no location.
        NotFound: There is no such folder, or a file is missing.
    """
    return opening.open_store(
        spec.location(), credentials=spec.credentials, ca_bundle=spec.ca_bundle, told=told
    )


def _path_of(variable: str) -> Path | None:
    text = os.environ.get(variable)
    return Path(text) if text else None


def open_base_clones(
    folder: Path, volume_uid: str, repository_id: backups.RepositoryId
) -> AbstractContextManager[base_clones.BaseClones]:
    """Opens the clones that tell what changed in a volume; see `base_clones.opened`."""
    from mooring.adapters.host import base_clones  # noqa: PLC0415

    return base_clones.opened(folder, volume_uid, repository_id)


def carriers_of(image: Path) -> list[Path]:
    """Returns the loop devices that have a file as their content."""
    from mooring.adapters.host import loops  # noqa: PLC0415

    return [device.path for device in loops.KernelLoops().find_all(image)]


def image_views() -> images.ImageViews:
    """Returns what looks into the filesystems of backups."""
    from mooring.adapters.host.images import views  # noqa: PLC0415

    return views.KernelImageViews()


def open_undeletion(kubeconfig: str | None, context: str | None) -> Undeletion:
    """Connects to a cluster, to bring back volumes from its trash.

    Raises:
        PreconditionFailed: There is no cluster to talk to.
    """
    from mooring.volumes.fleet.undeletion import Undeletion  # noqa: PLC0415

    volumes, objects = _connected(kubeconfig, context)
    return Undeletion(volumes, volumes, objects)


def open_farewell(kubeconfig: str | None, context: str | None) -> Farewell:
    """Connects to a cluster, to forget a node of it.

    Raises:
        PreconditionFailed: There is no cluster to talk to.
    """
    from mooring.volumes.fleet.farewell import Farewell  # noqa: PLC0415

    volumes, objects = _connected(kubeconfig, context)
    return Farewell(volumes, volumes, objects)


def open_recovery(kubeconfig: str | None, context: str | None) -> Recovery:
    """Connects to a cluster, to recover the claims of a namespace.

    Raises:
        PreconditionFailed: There is no cluster to talk to.
    """
    from mooring.volumes.fleet.recovery import Recovery  # noqa: PLC0415

    return Recovery(open_cluster(kubeconfig, context))


def open_cluster(kubeconfig: str | None, context: str | None) -> cluster.ClusterObjects:
    """Connects to a cluster.

    Raises:
        PreconditionFailed: There is none to talk to.
    """
    from mooring.adapters.kubernetes import client  # noqa: PLC0415

    return client.connect(kubeconfig, context)


def _connected(
    kubeconfig: str | None, context: str | None
) -> tuple[KubernetesCatalogue, cluster.ClusterObjects]:
    from mooring.adapters.kubernetes.volume_catalogue import (  # noqa: PLC0415
        KubernetesCatalogue,
    )

    objects = open_cluster(kubeconfig, context)
    return KubernetesCatalogue(objects), objects
