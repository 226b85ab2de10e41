"""Mooring's own volumes as Backups read them: a snapshot on the node, and what changed in it."""

from dataclasses import dataclass
from typing import Any

from mooring.api import keys
from mooring.api.v1alpha1 import backups as models
from mooring.domain import errors, ids
from mooring_operator import observing, run_statuses
from mooring_operator.backup_bases import BackupBases
from mooring_operator.builders import owners, persistent_volumes
from mooring_operator.mover_jobs import MoverJobs
from mooring_operator.surroundings import Surroundings


@dataclass(frozen=True)
class Exposed:
    """What a mover reads.

    Attributes:
        device: Name of the claim of the snapshot.
        changes: Name of the claim of what changed in it; None when that is not known.
        node: Where it is.
    """

    device: str
    changes: str | None
    node: ids.NodeName


class OwnVolumes:
    """Snapshots of Mooring's volumes.

    Args:
        surroundings: The nodes.
        movers: What exposes things to movers.
    """

    def __init__(self, surroundings: Surroundings, movers: MoverJobs) -> None:
        self._nodes = surroundings.nodes
        self._fleet = surroundings.fleet
        self._time = surroundings.time
        self._movers = movers
        self._bases = BackupBases(surroundings.nodes, movers)

    def intent(self, owner: owners.Owner, volume: observing.BoundVolume) -> dict[str, Any]:
        """Returns what goes on record before the node is asked."""
        snapshot_id = ids.snapshot_id_for(_csi_name(owner), volume.volume_id)
        return {"node": volume.node, "volumeId": volume.volume_id, "snapshotId": snapshot_id}

    def take(
        self, owner: owners.Owner, volume: observing.BoundVolume, spec: models.BackupSpec
    ) -> dict[str, Any]:
        """Takes the snapshot, and returns the status fields that tell of it.

        Raises:
            MooringError: See `ports.nodes`.
        """
        name, started = _csi_name(owner), self._time.now()
        record = self._nodes.storage(volume.node).create_snapshot(
            ids.snapshot_id_for(name, volume.volume_id),
            name,
            freeze_timeout_seconds=float(spec.freeze_timeout_seconds),
        )
        elapsed = self._time.now() - started
        return run_statuses.snapshot_status(record, int(elapsed.total_seconds() * 1000))

    def expose(self, owner: owners.Owner, status: dict[str, Any]) -> Exposed | None:
        """Shows a mover the snapshot, and what changed in it; None before all is there."""
        node = ids.NodeName(str(status["node"]))
        snapshot_id = ids.parse_snapshot_id(str(status["snapshotId"]))
        device = persistent_volumes.snapshot_exposure(
            owner, snapshot_id, int(status["sizeBytes"]), node
        )
        changes = self._bases.changes(owner, snapshot_id, node)
        exposed = [self._movers.expose(one) for one in (device, changes) if one is not None]
        if not all(exposed):
            return None
        return Exposed(device.name, None if changes is None else changes.name, node)

    def release(self, owner: owners.Owner, status: dict[str, Any]) -> bool:
        """Puts away what was exposed, then the snapshot; True once all is gone."""
        roles = (keys.ROLE_BACKUP, keys.ROLE_CHANGES)
        gone = [self._movers.withdraw(owner, role) for role in roles]
        if not all(gone):
            return False
        if "snapshotId" not in status:
            return True
        snapshot_id = ids.parse_snapshot_id(str(status["snapshotId"]))
        try:
            if not self._bases.keep(snapshot_id, status):
                self._fleet.delete_snapshot(snapshot_id)
        except errors.NotFound:
            return True
        except (errors.InUse, errors.Busy):
            return False
        return True


def _csi_name(owner: owners.Owner) -> str:
    return f"backup-{owner.uid}"
