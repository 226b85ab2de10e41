"""The volume that a claim gets which is filled from a backup. Pure."""

from mooring.domain import ids, volumes
from mooring.planning import placement, sizes
from mooring.ports import cluster
from mooring.volumes.fleet import requests
from mooring_operator import observing
from mooring_operator.builders import persistent_volumes

_FILESYSTEM_PARAMETERS = ("csi.storage.k8s.io/fstype", "fsType", "fstype")


def request(
    claim: cluster.Object,
    storage_class: cluster.Object,
    node: ids.NodeName,
    *,
    filesystem: str | None,
    sector_size_bytes: int | None,
) -> requests.VolumeRequest:
    """Returns what to ask for.

    Args:
        claim: The claim.
        storage_class: Its StorageClass.
        node: Where its data shall be.
        filesystem: What the backup holds; None when that is not known.
        sector_size_bytes: Of the volume that was backed up; None when that is not known.
    """
    parameters = storage_class.get("parameters", {})
    mode = volumes.VolumeMode(claim["spec"].get("volumeMode", "Filesystem"))
    pool = parameters.get("pool")
    metadata = claim["metadata"]
    return requests.VolumeRequest(
        name=persistent_volumes.final_volume_name(claim),
        size=sizes.SizeRange(required_bytes=observing.requested_bytes(claim)),
        mode=mode,
        filesystem=_filesystem(mode, filesystem, parameters),
        pool=None if pool is None else ids.parse_pool_name(pool),
        preallocated=parameters.get("preallocate") == "true",
        topology=placement.Topology(requisite=(node,), preferred=(node,)),
        filling=True,
        labels={"namespace": metadata["namespace"], "claim": metadata["name"]},
        sector_size_bytes=sector_size_bytes,
    )


def _filesystem(
    mode: volumes.VolumeMode, held: str | None, parameters: dict[str, str]
) -> volumes.FilesystemType | None:
    """What the backup holds; where that is not known, what the StorageClass would make."""
    if mode is volumes.VolumeMode.BLOCK:
        return None
    if held is not None:
        return volumes.FilesystemType(held)
    for name in _FILESYSTEM_PARAMETERS:
        if parameters.get(name):
            return volumes.FilesystemType(parameters[name])
    return volumes.FilesystemType.EXT4
