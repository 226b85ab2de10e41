"""What a node keeps of a volume's last backup, so that the next one reads only what changed."""

from collections.abc import Mapping
from typing import Any

from mooring.api import keys
from mooring.domain import errors, ids, volumes
from mooring.ports import nodes as nodes_port
from mooring_operator.builders import owners, persistent_volumes
from mooring_operator.mover_jobs import MoverJobs


class BackupBases:
    """Bases of backups on their nodes.

    Args:
        nodes: The nodes.
        movers: What exposes things to movers.
    """

    def __init__(self, nodes: nodes_port.Nodes, movers: MoverJobs) -> None:
        self._nodes = nodes
        self._movers = movers

    def changes(
        self, owner: owners.Owner, snapshot_id: ids.SnapshotId, node: ids.NodeName
    ) -> persistent_volumes.Exposure | None:
        """Returns how a mover learns what changed, if anything is kept of an earlier backup.

        What is kept may go at any moment; the mover is told then that nothing is known.
        """
        volume_id = ids.source_volume_id(snapshot_id)
        if not self._movers.is_exposed(owner, keys.ROLE_CHANGES) and not any(
            record.base is not None and record.source_volume_id == volume_id
            for record in self._nodes.storage(node).list_snapshots()
        ):
            return None
        return persistent_volumes.changes_exposure(owner, snapshot_id, node)

    def keep(self, snapshot_id: ids.SnapshotId, status: Mapping[str, Any]) -> bool:
        """Keeps the snapshot of a backup that stands; False where it has to be deleted instead.

        Raises:
            InUse: The snapshot is still attached.
            Busy: The volume is being worked on.
        """
        if not (status.get("backupId") and status.get("repositoryId")):
            return False
        base = volumes.BackupBase(str(status["repositoryId"]), str(status["backupId"]))
        try:
            self._nodes.storage(ids.NodeName(str(status["node"]))).keep_base(snapshot_id, base)
        except (errors.InUse, errors.Busy):
            raise
        except errors.MooringError:
            return False  # the next backup reads everything
        return True
