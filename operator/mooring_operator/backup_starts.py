"""Starts the mover of a Backup on what it is to read."""

from dataclasses import replace
from typing import Any

from mooring.api import keys
from mooring.api.v1alpha1 import backups as models
from mooring.domain import backups as backup_nouns
from mooring.domain import errors
from mooring.ports import cluster
from mooring_operator import backup_documents, backup_sources, resources, suspect_backups
from mooring_operator.builders import jobs, mover_specs, owners
from mooring_operator.foreign_volumes import ForeignVolumes
from mooring_operator.mover_jobs import MoverJobs
from mooring_operator.own_volumes import OwnVolumes
from mooring_operator.repository_access import Access

_DAY_SECONDS = 86400


class BackupStarts:
    """Starts movers of Backups whose snapshot is taken."""

    def __init__(
        self,
        objects: cluster.ClusterObjects,
        movers: MoverJobs,
        own: OwnVolumes,
        foreign: ForeignVolumes,
    ) -> None:
        self._objects = objects
        self._movers = movers
        self._own = own
        self._foreign = foreign

    def start(
        self,
        obj: cluster.Object,
        spec: models.BackupSpec,
        source: backup_sources.Source,
        access: Access | None,
    ) -> None:
        """Shows a mover the snapshot and starts it; until all of that is there, does what it can.

        Raises:
            Busy: The repository is not what it was a moment ago.
        """
        if access is None:
            raise errors.Busy("the repository changed while it was looked at")
        status = dict(obj.get("status", {}))
        run = jobs.MoverRun(
            owner=owners.owner_of(obj),
            role=keys.ROLE_BACKUP,
            repository=access.repository,
            deadline_seconds=spec.active_deadline_seconds,
        )
        shown = self._shown(run, status, source)
        if shown is None:
            return
        task = replace(
            self._task(obj, status, source),
            tracked=shown.changes_claim is not None,
            bytes_per_second=spec.limit(),
            scrub_period_seconds=spec.scrub_period_days * _DAY_SECONDS,
            read_everything=spec.reading is backup_nouns.Scope.EVERYTHING,
            doubt_tracking=suspect_backups.in_doubt(status, self._objects.find(resources.BACKUPS)),
            accept_suspect=spec.accept_suspect,
        )
        self._movers.start(shown, mover_specs.backup(task))

    def _shown(
        self,
        run: jobs.MoverRun,
        status: dict[str, Any],
        source: backup_sources.Source,
    ) -> jobs.MoverRun | None:
        if "driver" in status:
            device = self._foreign.expose(run.owner, status)
            nodes = source.foreign.nodes if source.foreign else None
            shown = replace(run, device_claim=device, foreign_device=True, nodes=nodes)
            return shown if device else None
        own = self._own.expose(run.owner, status)
        if own is None:
            return None
        return replace(
            run,
            device_claim=own.device,
            read_only_device=True,
            changes_claim=own.changes,
            node=own.node,
        )

    def _task(
        self, obj: cluster.Object, status: dict[str, Any], source: backup_sources.Source
    ) -> mover_specs.BackupTask:
        return mover_specs.BackupTask(
            backup_id=backup_id_of(owners.owner_of(obj)),
            volume=_volume(status),
            consistency=str(status["consistency"]),
            point_in_time=str(status["snapshotTime"]),
            documents=backup_documents.documents(self._objects, obj, source.claim),
        )


def backup_id_of(owner: owners.Owner) -> backup_nouns.BackupId:
    """Returns the name of a Backup in its repository: the same in every retry."""
    return backup_nouns.parse_backup_id(owner.uid)


def _volume(status: dict[str, Any]) -> mover_specs.BackedUpVolume:
    """Returns what a mover is told of the volume; of another driver's it finds out the rest."""
    uid = str(status["volumeId"])
    if "driver" in status:
        return mover_specs.BackedUpVolume(uid, foreign_mode=str(status["volumeMode"]))
    return mover_specs.BackedUpVolume(
        uid=uid,
        size_bytes=int(status["sizeBytes"]),
        sector_size_bytes=int(status["sectorSizeBytes"]),
        filesystem=status.get("filesystem"),
    )
