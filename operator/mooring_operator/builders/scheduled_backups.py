"""The Backups that a BackupSchedule makes. Pure."""

from mooring.api import keys
from mooring.api.v1alpha1 import backup_schedules as models
from mooring.api.v1alpha1.backups import BackupOptions
from mooring.domain.backups import Scope
from mooring.planning import backup_schedule_plan as planning
from mooring.ports import cluster
from mooring_operator.builders import owners


def labels(owner: owners.Owner) -> dict[str, str]:
    """Returns the labels by which a schedule finds its Backups: by uid, so only its own."""
    return {keys.OWNER_UID: owner.uid, keys.BACKUP_SCHEDULE: owner.name}


def name_of(owner: owners.Owner, part: planning.Part) -> str:
    """Returns the name of a part's Backup."""
    return planning.backup_name(owner.name, owner.uid, part)


def backup(
    owner: owners.Owner, spec: models.BackupScheduleSpec, part: planning.Part
) -> cluster.Object:
    """Returns the Backup of one claim in one run.

    It has no ownerReference, and its bytes outlive it: deleting a schedule deletes no backup.
    """
    options = spec.backup or BackupOptions()
    return {
        "metadata": {
            "name": name_of(owner, part),
            "namespace": owner.namespace,
            "labels": {
                keys.MANAGED_BY: keys.MANAGED_BY_VALUE,
                keys.BACKUP_RUN: part.run.name,
                **labels(owner),
            },
        },
        "spec": {
            **options.to_object(),
            **({"reading": Scope.EVERYTHING.value} if part.everything else {}),
            "source": {"persistentVolumeClaimName": part.claim},
            "repositoryName": spec.repository_name,
        },
    }
