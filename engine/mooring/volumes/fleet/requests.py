"""What a caller asks the fleet for, and whether what exists already is the same thing. Pure."""

from dataclasses import dataclass, field, replace

from mooring.domain import errors, ids, volumes
from mooring.planning import placement, sizes


@dataclass(frozen=True)
class VolumeRequest:
    """A new volume, as a CSI CreateVolume or the operator asks for it.

    Attributes:
        name: Makes the call idempotent: the same name, the same volume.
        size: The range of sizes allowed.
        mode: Filesystem or Block.
        filesystem: The type inside; None takes the source's, or ext4. Ignored for Block.
        pool: The pool; None leaves the choice open.
        preallocated: Whether the image's blocks are reserved at creation.
        source: Volume or snapshot to copy; None for an empty volume.
        topology: Where it may lie.
        filling: True makes the volume Filling, for a restore, instead of Ready.
        labels: Names for people.
        sector_size_bytes: For a restore, what the backed-up volume had; None takes the source's
            or the default.
    """

    name: str
    size: sizes.SizeRange = field(default_factory=sizes.SizeRange)
    mode: volumes.VolumeMode = volumes.VolumeMode.FILESYSTEM
    filesystem: volumes.FilesystemType | None = None
    pool: ids.PoolName | None = None
    preallocated: bool = False
    source: volumes.Source | None = None
    topology: placement.Topology = field(default_factory=placement.Topology)
    filling: bool = False
    labels: dict[str, str] = field(default_factory=dict)
    sector_size_bytes: int | None = None


@dataclass(frozen=True)
class SourceFacts:
    """What is to be copied, and where it lies.

    Attributes:
        node: The node that holds it.
        pool: The pool that holds it.
        size_bytes: Its size; the copy has at least this.
        mode: Its mode; a copy never changes it.
        filesystem: What is inside; None for Block.
        sector_size_bytes: The copy keeps it.
    """

    node: ids.NodeName
    pool: ids.PoolName
    size_bytes: int
    mode: volumes.VolumeMode
    filesystem: volumes.FilesystemType | None
    sector_size_bytes: int


def check_source(request: VolumeRequest, facts: SourceFacts) -> None:
    """Checks that a request can be met by a copy of its source.

    Raises:
        InvalidInput: The source has another mode, filesystem or pool.
    """
    if request.mode is not facts.mode:
        raise errors.InvalidInput(
            f"the source has volume mode {facts.mode}, this volume asks for {request.mode}: "
            "a copy cannot change it"
        )
    if request.filesystem not in (None, facts.filesystem) and facts.filesystem is not None:
        raise errors.InvalidInput(
            f"the source holds {facts.filesystem}, this volume asks for {request.filesystem}: "
            f"use a StorageClass with fsType {facts.filesystem}"
        )
    if request.pool not in (None, facts.pool):
        raise errors.InvalidInput(
            f"the source lies in pool {facts.pool}, this volume asks for {request.pool}: "
            f"use a StorageClass with pool {facts.pool}"
        )


def build_spec(
    request: VolumeRequest, pool: ids.PoolName, size_bytes: int, facts: SourceFacts | None
) -> volumes.VolumeSpec:
    """Writes down the intent."""
    filesystem = request.filesystem or (facts.filesystem if facts else None)
    if request.mode is volumes.VolumeMode.BLOCK:
        filesystem = None
    elif filesystem is None:
        filesystem = volumes.FilesystemType.EXT4
    return volumes.VolumeSpec(
        volume_id=ids.volume_id_for(request.name),
        name=request.name,
        pool=pool,
        size_bytes=size_bytes,
        mode=request.mode,
        filesystem=filesystem,
        preallocated=request.preallocated,
        sector_size_bytes=request.sector_size_bytes
        or (facts.sector_size_bytes if facts else volumes.DEFAULT_SECTOR_SIZE_BYTES),
        source=request.source,
        filling=request.filling,
        labels=dict(request.labels),
    )


def difference(request: VolumeRequest, spec: volumes.VolumeSpec) -> str | None:
    """Says in what an existing volume differs from a request; None when it satisfies it."""
    pinned = request.filesystem is not None and spec.filesystem is not None
    kind = "preallocated" if spec.preallocated else "sparse"
    origin = "from another source" if spec.source else "without a source"
    asked_source = replace(spec.source, node=None) if spec.source else None
    differences = (
        (not request.size.holds(spec.size_bytes), f"it has {spec.size_bytes} bytes"),
        (request.mode is not spec.mode, f"it has volume mode {spec.mode}"),
        (pinned and request.filesystem is not spec.filesystem, f"it holds {spec.filesystem}"),
        (request.pool not in (None, spec.pool), f"it lies in pool {spec.pool}"),
        (request.preallocated != spec.preallocated, f"it is {kind}"),
        (request.source != asked_source, f"it was made {origin}"),
    )
    return next((words for differs, words in differences if differs), None)
