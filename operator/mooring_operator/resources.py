"""Mooring's own kinds as resources of the API, made from the models' facts."""

from mooring.api import keys
from mooring.api.v1alpha1 import base, kinds
from mooring.ports import cluster


def resource(kind: base.Kind) -> cluster.Resource:
    """Returns a kind's place in the API."""
    return cluster.Resource(keys.API_VERSION, kind.kind, kind.plural, kind.namespaced)


VOLUME_CLAIMS = resource(kinds.VOLUME_CLAIM)
VOLUMES = resource(kinds.VOLUME)
POOLS = resource(kinds.POOL)
BACKUPS = resource(kinds.BACKUP)
BACKUP_REPOSITORIES = resource(kinds.BACKUP_REPOSITORY)
BACKUP_SCHEDULES = resource(kinds.BACKUP_SCHEDULE)
RESTORES = resource(kinds.RESTORE)
