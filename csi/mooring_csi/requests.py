"""CSI requests as domain values, checked field by field before anything is looked up.

What is unknown is refused, not ignored: a StorageClass with a misspelt parameter is a volume that
is not what its author believes.
"""

import re
from collections.abc import Mapping, Sequence

from mooring.api import keys
from mooring.domain import errors, handles, ids, volumes
from mooring.planning import mount_options, placement, sizes
from mooring.volumes.fleet import requests as fleet_requests
from mooring_csi._generated import csi_pb2

_KUBERNETES = "csi.storage.k8s.io/"
_FILESYSTEM_PARAMETERS = ("fsType", "fstype", f"{_KUBERNETES}fstype")
_LABELS = {
    f"{_KUBERNETES}pvc/name": "claim",
    f"{_KUBERNETES}pvc/namespace": "namespace",
    f"{_KUBERNETES}pv/name": "persistentVolume",
}
_PARAMETERS = frozenset({"pool", "preallocate", *_FILESYSTEM_PARAMETERS, *_LABELS})
_SNAPSHOT_PARAMETERS = frozenset(
    {
        f"{_KUBERNETES}volumesnapshot/name",
        f"{_KUBERNETES}volumesnapshot/namespace",
        f"{_KUBERNETES}volumesnapshotcontent/name",
    }
)
_SECRET_KEYS = re.compile(
    f"{re.escape(_KUBERNETES)}(provisioner|controller-publish|controller-expand|node-stage|"
    "node-publish|node-expand)-secret-(name|namespace)"
)
_LONGEST_STRING_BYTES = 128
_LARGEST_MAP_BYTES = 4096
_LONGEST_PATH_BYTES = 4096
_LONGEST_HANDLE_BYTES = 640  # a folder's handle holds an entry, a namespace and a name
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]")
_MODE = csi_pb2.VolumeCapability.AccessMode
_SINGLE_NODE_MODES = frozenset(
    {
        _MODE.SINGLE_NODE_WRITER,
        _MODE.SINGLE_NODE_READER_ONLY,
        _MODE.SINGLE_NODE_SINGLE_WRITER,
        _MODE.SINGLE_NODE_MULTI_WRITER,
    }
)


def text(value: str, field: str, limit_bytes: int = _LONGEST_STRING_BYTES) -> str:
    """Checks that a string is there, short enough and printable.

    Raises:
        InvalidInput: It is not.
    """
    if not value:
        raise errors.InvalidInput(f"{field} is missing")
    if len(value.encode()) > limit_bytes:
        raise errors.InvalidInput(f"{field} is longer than {limit_bytes} bytes")
    if _CONTROL.search(value):
        raise errors.InvalidInput(f"{field} has control characters")
    return value


def path(value: str, field: str) -> str:
    """Checks that a path is there, absolute and without detours.

    Raises:
        InvalidInput: It is not.
    """
    text(value, field, _LONGEST_PATH_BYTES)
    if not value.startswith("/") or ".." in value.split("/") or "\n" in value:
        raise errors.InvalidInput(f"{field} is not an absolute path without '..'")
    return value


def size_range(message: csi_pb2.CapacityRange | None) -> sizes.SizeRange:
    """Reads a capacity range; None leaves both bounds open.

    Raises:
        InvalidInput: Both bounds are missing, or one is negative.
        SizeOutOfRange: The limit is below what is required.
    """
    if message is None:
        return sizes.SizeRange()
    asked = sizes.SizeRange(message.required_bytes, message.limit_bytes)
    if not asked.required_bytes and not asked.limit_bytes:
        raise errors.InvalidInput("a capacity range of size 0: give required_bytes or limit_bytes")
    return asked


def capability_fault(capability: csi_pb2.VolumeCapability) -> str | None:
    """Says why a volume cannot be used in the way described; None when it can."""
    kind = capability.WhichOneof("access_type")
    if kind is None:
        return "a volume capability names neither block nor mount"
    mode = capability.access_mode.mode
    if mode == _MODE.UNKNOWN:
        return "a volume capability has no access mode"
    if mode not in _SINGLE_NODE_MODES:
        return (
            f"access mode {_mode_name(mode)} needs several nodes, "
            "and a Mooring volume lies on one: use ReadWriteOnce or ReadWriteOncePod"
        )
    return _mount_fault(capability.mount) if kind == "mount" else None


def _mount_fault(mount: csi_pb2.VolumeCapability.MountVolume) -> str | None:
    if mount.fs_type not in {"", *volumes.FilesystemType}:
        return f"filesystem {mount.fs_type[:32]!r} is not one of ext4, xfs, btrfs"
    if mount.volume_mount_group:
        return "a volume mount group is not supported: use the pod's fsGroup"
    # Without a type it is the volume's own that decides, when it is known.
    possible = [volumes.FilesystemType(mount.fs_type)] if mount.fs_type else volumes.FilesystemType
    return flags_fault(mount.mount_flags, tuple(possible), preallocated=False)


def flags_fault(
    flags: Sequence[str], possible: Sequence[volumes.FilesystemType], *, preallocated: bool
) -> str | None:
    """Says which flag no possible filesystem takes; None when there is none such."""
    for number, flag in enumerate(flags, start=1):
        if not any(
            mount_options.is_allowed(flag, filesystem, preallocated=preallocated)
            for filesystem in possible
        ):
            # Not repeated: an option's value may be sensitive, by the interface's own words.
            names = " or ".join(possible)
            kind = "a preallocated volume with " if preallocated else ""
            return (
                f"mount option number {number} is not allowed on {kind}{names}; "
                "take it out of the StorageClass's mountOptions"
            )
    return None


def mode_of(capability: csi_pb2.VolumeCapability) -> volumes.VolumeMode:
    """Returns the volume mode of a capability that has no fault."""
    if capability.HasField("block"):
        return volumes.VolumeMode.BLOCK
    return volumes.VolumeMode.FILESYSTEM


def capability(message: csi_pb2.VolumeCapability) -> csi_pb2.VolumeCapability:
    """Checks one capability.

    Raises:
        InvalidInput: It cannot be met.
    """
    fault = capability_fault(message)
    if fault is not None:
        raise errors.InvalidInput(fault)
    return message


def create_volume(request: csi_pb2.CreateVolumeRequest) -> fleet_requests.VolumeRequest:
    """Reads a CreateVolume request.

    Raises:
        InvalidInput: A field is missing, unknown or cannot be met.
        SizeOutOfRange: The size limit is below what is required.
        NotFound: The source's id is none of ours.
    """
    name = text(request.name, "name")
    mode = _common_mode(request.volume_capabilities)
    if request.mutable_parameters:
        raise errors.InvalidInput("this driver has no mutable parameters")
    parameters = _known(request.parameters, _PARAMETERS, "StorageClass parameter")
    filesystem = _filesystem(parameters, request.volume_capabilities, mode)
    preallocated = _truth(parameters.get("preallocate", "false"), "preallocate")
    source = _source(request)
    possible = _possible_filesystems(filesystem, source)
    _require_mountable(request.volume_capabilities, possible, preallocated=preallocated)
    return fleet_requests.VolumeRequest(
        name=name,
        size=size_range(request.capacity_range if request.HasField("capacity_range") else None),
        mode=mode,
        filesystem=filesystem,
        pool=ids.parse_pool_name(parameters["pool"]) if "pool" in parameters else None,
        preallocated=preallocated,
        source=source,
        topology=_topology(request),
        labels={_LABELS[key]: value for key, value in parameters.items() if key in _LABELS},
    )


def capacity(
    request: csi_pb2.GetCapacityRequest,
) -> tuple[placement.Topology, ids.PoolName | None]:
    """Reads where and in which pool capacity is asked for.

    The external-provisioner takes the keys that name Secrets, which are its own, out of every
    request but this one.

    Raises:
        InvalidInput: A parameter is unknown.
    """
    given = {k: v for k, v in request.parameters.items() if not _SECRET_KEYS.fullmatch(k)}
    parameters = _known(given, _PARAMETERS, "StorageClass parameter")
    pool = ids.parse_pool_name(parameters["pool"]) if "pool" in parameters else None
    if not request.HasField("accessible_topology"):
        return placement.Topology(), pool
    return placement.Topology(requisite=_nodes([request.accessible_topology])), pool


def create_snapshot(request: csi_pb2.CreateSnapshotRequest) -> tuple[ids.VolumeId, str]:
    """Returns source volume and name of a CreateSnapshot request.

    Raises:
        InvalidInput: A field is missing or unknown.
        NotFound: The source's id is none of ours.
    """
    name = text(request.name, "name")
    source = volume_id(request.source_volume_id, "source_volume_id")
    _known(request.parameters, _SNAPSHOT_PARAMETERS, "VolumeSnapshotClass parameter")
    return source, name


def volume_id(value: str, field: str = "volume_id") -> ids.VolumeId:
    """Reads a volume id.

    Raises:
        InvalidInput: It is missing or too long.
        NotFound: It is none of ours.
    """
    return ids.parse_volume_id(text(value, field))


def handle(value: str) -> handles.Handle:
    """Reads a volume id as the node plugin gets it: a user's volume, or what a mover opens.

    Raises:
        InvalidInput: It is missing or too long.
        NotFound: It is none of ours.
    """
    return handles.parse(text(value, "volume_id", _LONGEST_HANDLE_BYTES))


def snapshot_id(value: str) -> ids.SnapshotId:
    """Reads a snapshot id.

    Raises:
        InvalidInput: It is missing or too long.
        NotFound: It is none of ours.
    """
    return ids.parse_snapshot_id(text(value, "snapshot_id"))


def _common_mode(capabilities: Sequence[csi_pb2.VolumeCapability]) -> volumes.VolumeMode:
    if not capabilities:
        raise errors.InvalidInput("volume_capabilities is missing")
    modes = {mode_of(capability(item)) for item in capabilities}
    if len(modes) > 1:
        raise errors.InvalidInput("a volume cannot be a block device and a filesystem at once")
    return modes.pop()


def _require_mountable(
    capabilities: Sequence[csi_pb2.VolumeCapability],
    possible: Sequence[volumes.FilesystemType],
    *,
    preallocated: bool,
) -> None:
    """Refuses now what the first mount would refuse, when a pod waits for it already.

    Raises:
        InvalidInput: A mount option is not for this kind of volume.
    """
    for item in capabilities:
        fault = flags_fault(item.mount.mount_flags, possible, preallocated=preallocated)
        if fault is not None:
            raise errors.InvalidInput(fault)


def _possible_filesystems(
    named: volumes.FilesystemType | None, source: volumes.Source | None
) -> tuple[volumes.FilesystemType, ...]:
    """Returns what may be inside: a copy without a type of its own has its source's."""
    if named is not None:
        return (named,)
    return tuple(volumes.FilesystemType) if source else (volumes.FilesystemType.EXT4,)


def _filesystem(
    parameters: Mapping[str, str],
    capabilities: Sequence[csi_pb2.VolumeCapability],
    mode: volumes.VolumeMode,
) -> volumes.FilesystemType | None:
    if mode is volumes.VolumeMode.BLOCK:
        return None
    named = {parameters[key] for key in _FILESYSTEM_PARAMETERS if parameters.get(key)}
    named |= {item.mount.fs_type for item in capabilities if item.mount.fs_type}
    if len(named) > 1:
        raise errors.InvalidInput(f"several filesystem types are named: {', '.join(sorted(named))}")
    if not named:
        return None
    try:
        return volumes.FilesystemType(named.pop())
    except ValueError as error:
        raise errors.InvalidInput("fsType is not one of ext4, xfs, btrfs") from error


def _source(request: csi_pb2.CreateVolumeRequest) -> volumes.Source | None:
    if not request.HasField("volume_content_source"):
        return None
    source = request.volume_content_source
    match source.WhichOneof("type"):
        case "snapshot":
            return volumes.Source(snapshot_id=snapshot_id(source.snapshot.snapshot_id))
        case "volume":
            field = "volume_content_source.volume.volume_id"
            return volumes.Source(volume_id=volume_id(source.volume.volume_id, field))
        case _:
            raise errors.InvalidInput("volume_content_source names neither snapshot nor volume")


def _topology(request: csi_pb2.CreateVolumeRequest) -> placement.Topology:
    requirement = request.accessibility_requirements
    return placement.Topology(
        requisite=_nodes(requirement.requisite) if requirement.requisite else None,
        preferred=_nodes(requirement.preferred),
    )


def _nodes(segments: Sequence[csi_pb2.Topology]) -> tuple[ids.NodeName, ...]:
    """Returns the nodes that segments name; a segment without our key holds none of ours."""
    names = [
        item.segments[keys.TOPOLOGY_NODE]
        for item in segments
        if keys.TOPOLOGY_NODE in item.segments
    ]
    return tuple(dict.fromkeys(ids.parse_node_name(name) for name in names))


def _known(given: Mapping[str, str], allowed: frozenset[str], what: str) -> dict[str, str]:
    total = sum(len(key.encode()) + len(value.encode()) for key, value in given.items())
    if total > _LARGEST_MAP_BYTES:
        raise errors.InvalidInput(f"the {what}s take more than {_LARGEST_MAP_BYTES} bytes")
    unknown = sorted(set(given) - allowed)
    if unknown:
        names = ", ".join(sorted(key for key in allowed if not key.startswith(_KUBERNETES)))
        raise errors.InvalidInput(
            f"unknown {what} {unknown[0][:64]!r}; known are: {names or 'none'}"
        )
    return dict(given)


def _truth(value: str, field: str) -> bool:
    if value not in ("true", "false"):
        raise errors.InvalidInput(f"{field} is {value[:32]!r}: write true or false")
    return value == "true"


def _mode_name(mode: int) -> str:
    found = _MODE.Mode.DESCRIPTOR.values_by_number.get(mode)
    return found.name if found is not None else str(mode)
