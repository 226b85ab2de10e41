"""Identifiers. They are Mooring's own: derived or made here, never taken from input.

Input (a CSI name, a Kubernetes name) is hashed into an id and never becomes a path, so a name
full of `../` is only an unusual name.
"""

import hashlib
import re
from typing import NewType

from mooring.domain import errors

VolumeId = NewType("VolumeId", str)
SnapshotId = NewType("SnapshotId", str)
ImageId = NewType("ImageId", str)
PoolName = NewType("PoolName", str)
NodeName = NewType("NodeName", str)

_VOLUME_ID = re.compile(r"vol-[0-9a-f]{32}\Z")
_SNAPSHOT_ID = re.compile(r"snap-[0-9a-f]{16}-[0-9a-f]{32}\Z")
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")
_NODE_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?\Z")


def volume_id_for(name: str) -> VolumeId:
    """Derives the id of the volume that a CSI name stands for: the same name, the same id."""
    return VolumeId(f"vol-{hashlib.sha256(name.encode()).hexdigest()[:32]}")


def trashed_volume_id(volume_id: VolumeId, deleted_at: str) -> VolumeId:
    """Derives the id that a deleted volume is kept under; no CSI name leads to it.

    A NUL, which no CSI name may hold, sets these ids apart.
    """
    return volume_id_for(f"\0{volume_id} {deleted_at}")


def snapshot_id_for(name: str, source: VolumeId) -> SnapshotId:
    """Derives a snapshot's id from its CSI name and source volume.

    The source volume's id is part of it, so a snapshot leads to its node through the volume's
    record even after the volume itself is deleted.
    """
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    return SnapshotId(f"snap-{digest}-{source.removeprefix('vol-')}")


def source_volume_id(snapshot_id: SnapshotId) -> VolumeId:
    """Returns the id of the volume that a snapshot was taken of."""
    return VolumeId(f"vol-{snapshot_id.rsplit('-', 1)[1]}")


def parse_volume_id(text: str) -> VolumeId:
    """Checks that a string has the grammar of a volume id.

    Raises:
        NotFound: It has not, so no volume of ours can have it.
    """
    if not _VOLUME_ID.match(text):
        raise errors.NotFound(f"there is no volume {text[:64]!r}")
    return VolumeId(text)


def parse_snapshot_id(text: str) -> SnapshotId:
    """Checks that a string has the grammar of a snapshot id.

    Raises:
        NotFound: It has not, so no snapshot of ours can have it.
    """
    if not _SNAPSHOT_ID.match(text):
        raise errors.NotFound(f"there is no snapshot {text[:96]!r}")
    return SnapshotId(text)


def parse_pool_name(text: str) -> PoolName:
    """Checks that a pool name is a DNS label.

    Raises:
        InvalidInput: It is not.
    """
    if not _DNS_LABEL.match(text):
        raise errors.InvalidInput(
            f"pool name {text[:64]!r} is not a DNS label: use lower-case letters, digits and '-'"
        )
    return PoolName(text)


def parse_node_name(text: str) -> NodeName:
    """Checks that a node name is a DNS subdomain, as Kubernetes demands.

    Raises:
        InvalidInput: It is not.
    """
    if not _NODE_NAME.match(text):
        raise errors.InvalidInput(f"node name {text[:64]!r} is not a DNS subdomain")
    return NodeName(text)
