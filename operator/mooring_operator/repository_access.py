"""How a repository is reached from a namespace: by which claim, with which key, and whether."""

from dataclasses import dataclass

import yaml

from mooring.api import keys
from mooring.api.v1alpha1 import backup_repositories as models
from mooring.domain import errors
from mooring.planning import backup_run_plan, recovery_slots, repository_plan
from mooring.ports import cluster
from mooring_operator import observing, parsing, resources, statuses
from mooring_operator.builders import owners
from mooring_operator.builders.repository_mounts import RepositoryMount


@dataclass(frozen=True)
class Access:
    """A repository that movers can mount.

    Attributes:
        repository: What movers get to see of it.
        repository_id: As the last probe found it.
    """

    repository: RepositoryMount
    repository_id: str


class RepositoryAccess:
    """Looks repositories up for those who use them."""

    def __init__(self, objects: cluster.ClusterObjects, namespace: str = keys.NAMESPACE) -> None:
        self._objects = objects
        self._namespace = namespace

    def find(
        self, name: str, namespace: str, node: str | None = None, *, to_write: bool = False
    ) -> tuple[Access | None, backup_run_plan.Need]:
        """Returns a repository when it is Ready and a node can mount it, and else what it lacks.

        One that lacks only a recovery slot is read; `to_write`, only if it was Ready before.
        """
        obj = self._objects.get(resources.BACKUP_REPOSITORIES, name, namespace)
        if obj is None:
            return None, backup_run_plan.Need(
                ready=False,
                reason="RepositoryNotFound",
                message=f"there is no BackupRepository {name} in namespace {namespace}",
            )
        if not is_usable(obj, to_write=to_write):
            why = statuses.condition(obj, "Ready").get("message", "it was not opened yet")
            return None, backup_run_plan.Need(
                ready=False,
                reason="RepositoryNotReady",
                message=f"BackupRepository {name} is not Ready: {why}",
            )
        spec = parsing.spec_of(obj, models.BackupRepositorySpec)
        access = Access(
            mount_of(obj, spec),
            str(obj.get("status", {}).get("repositoryId", "")),
        )
        claim = None if spec.directory is None else spec.directory.claim_name
        home = self._home(claim, namespace) if claim and node else ""
        if home not in ("", node):
            return None, _elsewhere(name, str(claim), home, str(node))
        return access, backup_run_plan.Need(ready=True)

    def _home(self, claim_name: str, namespace: str) -> str:
        """Returns the one node that can mount a claim; empty when it is not a Mooring volume."""
        claim = self._objects.get(cluster.CLAIMS, claim_name, namespace) or {}
        name = claim.get("spec", {}).get("volumeName") or ""
        volume = self._objects.get(cluster.PERSISTENT_VOLUMES, name) if name else None
        return "" if volume is None else observing.node_of(volume)

    def folder(self, name: str, namespace: str) -> repository_plan.FolderEntry:
        """Returns the entry of the administrator's list that a namespace names.

        Raises:
            PermissionDenied: It may not use one of that name.
            PreconditionFailed: The list cannot be read.
        """
        found = self._objects.get(cluster.CONFIG_MAPS, keys.CONFIG_MAP, self._namespace) or {}
        text = found.get("data", {}).get(keys.CONFIG_FOLDERS_KEY, "")
        try:
            document = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise errors.PreconditionFailed(
                f"{keys.CONFIG_FOLDERS_KEY} of ConfigMap {keys.CONFIG_MAP} is no YAML"
            ) from error
        entries = repository_plan.parse_folders(document)
        return repository_plan.allowed_folder(entries, name, namespace)


def was_ready(status: cluster.Object) -> bool:
    """Whether a repository has ever been Ready, also under a Mooring that noted no such time."""
    return "firstReadyTime" in status or was_ready_before_slots(status)


def was_ready_before_slots(status: cluster.Object) -> bool:
    """Whether a Mooring that knew no recovery slots opened it."""
    return bool(status.get("repositoryId")) and "recoverySlots" not in status


def is_usable(obj: cluster.Object, *, to_write: bool) -> bool:
    """Whether movers may read a repository as it stands, or write to it."""
    ready = statuses.condition(obj, "Ready")
    current = obj["metadata"].get("generation", 1)
    if ready.get("observedGeneration") != current or "deletionTimestamp" in obj["metadata"]:
        return False
    if ready.get("status") == "True":
        return True
    reason = str(ready.get("reason", ""))
    if to_write:
        before = was_ready(obj.get("status", {}))
        return recovery_slots.takes_backups(reason, was_ready=before)
    return recovery_slots.may_be_read(reason)


def _elsewhere(name: str, claim: str, home: str, node: str) -> backup_run_plan.Need:
    return backup_run_plan.Need(
        ready=False,
        hopeless=True,
        reason="RepositoryElsewhere",
        message=f"BackupRepository {name} is on claim {claim}, which is on node {home}, and the "
        f"volume is on node {node}: use a repository that both can mount, on a shared claim or "
        "a folder of the administrator's list",
    )


def mount_of(obj: cluster.Object, spec: models.BackupRepositorySpec) -> RepositoryMount:
    """Returns what movers get to see: a claim, the user's or made for a folder, or a bucket.

    Raises:
        InvalidInput: Not exactly one place is named.
    """
    secret = spec.encryption.key_secret_name
    known = obj.get("status", {}).get("repositoryId")
    bucket = spec.bucket()
    if bucket is not None:
        return RepositoryMount(
            secret,
            url=str(bucket.location()),
            credentials_secret=bucket.credentials_secret_name,
            ca_bundle=bucket.ca_bundle,
            repository_id=known,
        )
    if spec.directory is None:
        raise errors.InvalidInput("spec: set exactly one of directory, s3, azure, gcs")
    made = owners.owner_of(obj).child_name(keys.ROLE_REPOSITORY)
    claim = spec.directory.claim_name or made
    return RepositoryMount(secret, claim=claim, repository_id=known)
