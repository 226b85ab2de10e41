"""kopf watches; the queue works. Handlers here only name the object to look at.

Event handlers add no finalizers, annotations or progress to anybody's objects, have no retries of
their own, and return at once, so none of kopf's queues ever waits for a storage node.
"""

from typing import Any

import kopf

from mooring.api import keys
from mooring.api.v1alpha1 import kinds
from mooring_operator import (
    backup_repositories,
    backup_schedules,
    backups,
    claims_to_fill,
    held_claims,
    restores,
    volume_claims,
)
from mooring_operator.work_queue import Key, WorkQueue

_INACTIVITY_SECONDS = 70.0
_SERVER_TIMEOUT_SECONDS = 300  # whole: the API server parses it as an integer
_REQUEST_TIMEOUT_SECONDS = 30.0
_SCHEDULE_SECONDS = 2.0  # its Backups tell of their progress much more often

_OWN_KINDS = {
    volume_claims.KIND: kinds.VOLUME_CLAIM,
    backups.KIND: kinds.BACKUP,
    backup_repositories.KIND: kinds.BACKUP_REPOSITORY,
    backup_schedules.KIND: kinds.BACKUP_SCHEDULE,
    restores.KIND: kinds.RESTORE,
}


def registry(queue: WorkQueue) -> kopf.OperatorRegistry:
    """Returns the handlers of all kinds that are watched."""
    result = kopf.OperatorRegistry()
    for name, kind in _OWN_KINDS.items():
        _watch_own(result, queue, name, kind.plural)

    @kopf.on.event("", "v1", "persistentvolumeclaims", registry=result)
    async def on_claim(body: kopf.Body, **_: Any) -> None:
        for key in keys_of_claim(dict(body)):
            queue.add(key)

    @kopf.on.startup(registry=result)
    async def on_startup(settings: kopf.OperatorSettings, **_: Any) -> None:
        configure(settings)

    @kopf.on.login(registry=result)
    def on_login(**context: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**context) or kopf.login_with_kubeconfig(**context)

    return result


def _watch_own(result: kopf.OperatorRegistry, queue: WorkQueue, name: str, plural: str) -> None:
    @kopf.on.event(keys.GROUP, keys.VERSION, plural, registry=result, id=f"on-{plural}")
    async def on_own(body: kopf.Body, **_: Any) -> None:
        metadata = body["metadata"]
        queue.add(Key(name, metadata["namespace"], metadata["name"]))
        if name == backups.KIND:
            tell_of_backup(queue, body)


def tell_of_backup(queue: WorkQueue, backup: Any) -> None:
    """A backup that ends changes its claim's `lastBackup`, and lets its schedule go on."""
    schedule = (backup["metadata"].get("labels") or {}).get(keys.BACKUP_SCHEDULE)
    if schedule:
        key = Key(backup_schedules.KIND, backup["metadata"]["namespace"], schedule)
        queue.add(key, _SCHEDULE_SECONDS)
    claim = (backup.get("status") or {}).get("claimName")
    if claim and (backup.get("status") or {}).get("backupId"):
        queue.add(Key(volume_claims.KIND, backup["metadata"]["namespace"], claim))


def keys_of_claim(claim: dict[str, Any]) -> list[Key]:
    """Returns what to look at when a PersistentVolumeClaim changed."""
    metadata = claim["metadata"]
    namespace = metadata["namespace"]
    found = []
    owner = (metadata.get("labels") or {}).get(keys.VOLUME_CLAIM)
    if owner:
        found.append(Key(volume_claims.KIND, namespace, owner))
    if held_claims.may_be_held(claim):
        found.append(Key(held_claims.KIND, namespace, metadata["name"]))
    if claims_to_fill.asks_for_backup(claim):
        found.append(Key(claims_to_fill.KIND, namespace, metadata["name"]))
        reference = claim["spec"]["dataSourceRef"]
        if reference["kind"] == restores.KIND:
            found.append(Key(restores.KIND, namespace, reference["name"]))
    return found


def configure(settings: kopf.OperatorSettings) -> None:
    """Sets kopf up: bounded waits everywhere, nothing posted, no peering."""
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = False
    settings.watching.inactivity_timeout = _INACTIVITY_SECONDS
    settings.watching.server_timeout = _SERVER_TIMEOUT_SECONDS
    settings.watching.client_timeout = _SERVER_TIMEOUT_SECONDS + _INACTIVITY_SECONDS
    settings.watching.connect_timeout = _REQUEST_TIMEOUT_SECONDS
    settings.networking.request_timeout = _REQUEST_TIMEOUT_SECONDS
    settings.networking.connect_timeout = _REQUEST_TIMEOUT_SECONDS
    settings.persistence.finalizer = f"{keys.GROUP}/kopf"
