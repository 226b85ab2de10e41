"""What a restore begins with: a clone of what a node keeps of the same volume's last backup.

It is a guess that costs nothing: the mover compares each chunk of the clone with the backup by its
keyed hash, and fetches what differs. So a volume that is set back by an hour fetches an hour.
"""

import contextlib
from dataclasses import dataclass, replace

from mooring.domain import errors, ids, volumes
from mooring.ports import catalogue
from mooring.volumes.fleet import requests
from mooring_operator.surroundings import Surroundings

_NO_CLONE = (
    errors.NotFound,
    errors.InvalidInput,
    errors.SizeOutOfRange,
    errors.PreconditionFailed,
    errors.SpaceExhausted,
)
"""What it meets where the base is gone, this volume cannot be a clone of it, or there is no room
for both: an empty one may take the base's."""


@dataclass(frozen=True)
class Original:
    """The volume that a backup is of.

    Attributes:
        volume_id: Names it.
        repository_id: The repository that holds the backup.
        namespace: Where both the backup and the claim to fill are.
    """

    volume_id: ids.VolumeId
    repository_id: str
    namespace: str


class KeptContent:
    """Begins volumes with what nodes keep of others.

    Args:
        surroundings: The nodes, and which volume is on which of them.
    """

    def __init__(self, surroundings: Surroundings) -> None:
        self._nodes = surroundings.nodes
        self._fleet = surroundings.fleet
        self._entries = surroundings.catalogue

    def create_volume(
        self,
        request: requests.VolumeRequest,
        original: Original | None,
        begun: catalogue.CatalogueEntry | None,
    ) -> catalogue.CatalogueEntry:
        """Makes a volume that is filled: as a clone of what its one allowed node keeps, or empty.

        Args:
            request: The volume.
            original: What it will be filled with.
            begun: What an earlier try left of it; its choice stands.

        Raises:
            MooringError: See `fleet.Fleet.create_volume`.
        """
        source = None
        if begun is not None:
            source = replace(begun.spec.source, node=None) if begun.spec.source else None
        elif original is not None and request.topology.requisite:
            source = self._find(original, request.topology.requisite[0])
        if source is not None:
            with contextlib.suppress(*_NO_CLONE):
                return self._fleet.create_volume(replace(request, source=source))
        return self._fleet.create_volume(request)

    def _find(self, original: Original, node: ids.NodeName) -> volumes.Source | None:
        """Returns the base that a node keeps of a volume, or None where there is none.

        A mover runs among its tenant's pods, so it is shown nothing that the tenant could not
        read anyway: the volume is of a claim of the same namespace, and the base's content is in
        the very repository that the tenant's key opens.
        """
        entry = self._entries.entry(original.volume_id)
        if entry is None or entry.node != node:
            return None
        if entry.spec.labels.get("namespace") != original.namespace:
            return None
        try:
            found = list(self._nodes.storage(node).list_snapshots())
        except errors.MooringError:
            return None  # whoever makes the volume will meet the same node
        for record in found:
            if record.source_volume_id != original.volume_id or record.base is None:
                continue
            usable = record.state is volumes.SnapshotState.READY
            if usable and record.base.repository_id == original.repository_id:
                return volumes.Source(snapshot_id=record.snapshot_id)
        return None
