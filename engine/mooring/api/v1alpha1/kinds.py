"""The list of every kind, for whatever treats them alike: CRDs, reference page, RBAC, watching."""

from mooring.api.v1alpha1 import (
    backup_repositories,
    backup_schedules,
    backups,
    pools,
    restores,
    volume_claims,
    volumes,
)

VOLUME_CLAIM = volume_claims.KIND
VOLUME = volumes.KIND
POOL = pools.KIND
BACKUP = backups.KIND
BACKUP_REPOSITORY = backup_repositories.KIND
BACKUP_SCHEDULE = backup_schedules.KIND
RESTORE = restores.KIND

ALL = (VOLUME_CLAIM, VOLUME, POOL, BACKUP, BACKUP_REPOSITORY, BACKUP_SCHEDULE, RESTORE)
