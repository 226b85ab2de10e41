"""Shows what a repository holds as Backup objects, for a cluster that is new to it.

A mover reads a page and writes it to its log; the objects are made here, some at each look. Every
step may be repeated: an object is known by the id that it has in the repository.
"""

from collections.abc import Sequence

from mooring.api import keys
from mooring.domain import errors
from mooring.planning import listed_backups, listing_plan, verdicts
from mooring.planning.listing_plan import Action
from mooring.ports import clock, cluster
from mooring_operator import resources, statuses, suspect_backups
from mooring_operator.builders import imported_backups, jobs, mover_specs, owners
from mooring_operator.builders.imported_backups import Entry
from mooring_operator.builders.repository_mounts import RepositoryMount
from mooring_operator.mover_jobs import MoverJobs
from mooring_operator.recorder import Recorder

_DEADLINE_SECONDS = 3600
_LOG_LINES = 1100  # a page has at most 1000 entries
_SOON_SECONDS = 0.3
_WATCH_SECONDS = 1.0
_RETRY_SECONDS = listing_plan.RETRY.total_seconds()


class Listings:
    """Lists repositories."""

    def __init__(
        self,
        objects: cluster.ClusterObjects,
        recorder: Recorder,
        movers: MoverJobs,
        time: clock.Clock,
    ) -> None:
        self._objects = objects
        self._recorder = recorder
        self._movers = movers
        self._time = time

    def advance(
        self, obj: cluster.Object, repository: RepositoryMount
    ) -> tuple[cluster.Object, float | None]:
        """Takes one step for a repository that can be read.

        Returns:
            What `status.listing` says now, and when to look again, in seconds; None for no hurry.
        """
        owner = owners.owner_of(obj)
        found: cluster.Object = dict(obj.get("status", {}).get("listing") or {})
        asked = str(obj["metadata"].get("annotations", {}).get(keys.LIST, ""))[:100]
        again: float | None = _SOON_SECONDS
        match listing_plan.decide(self._observe(owner, found, asked), self._time.now()):
            case Action.BEGIN:
                found = {"done": False, "imported": 0, "skipped": 0, "request": asked}
            case Action.START:
                self._start(owner, repository, found, _listed_namespace(obj))
            case Action.IMPORT:
                found = self._import(obj, owner, found)
            case Action.NOTE:
                why = self._movers.observe(owner, keys.ROLE_LIST).message
                found = self._in_vain(owner, found, why or "the mover failed")
            case Action.CLEAR:
                self._movers.remove(owner, keys.ROLE_LIST)
            case Action.WAIT:
                again = _WATCH_SECONDS
            case Action.REST:
                again = None if found.get("done") else _RETRY_SECONDS
        return found, again

    def _observe(
        self, owner: owners.Owner, found: cluster.Object, asked: str
    ) -> listing_plan.Observed:
        job = self._movers.job(owner, keys.ROLE_LIST) or {"metadata": {}}
        annotations = job["metadata"].get("annotations", {})
        return listing_plan.Observed(
            known="done" in found,
            done=bool(found.get("done")),
            answered=str(found.get("request", "")),
            asked=asked,
            after=_cursor(found),
            mover=self._movers.observe(owner, keys.ROLE_LIST),
            mover_after=annotations.get(keys.LISTED_AFTER, ""),
            last_try_at=statuses.parse_timestamp(found.get("lastTryTime")),
        )

    def _start(
        self,
        owner: owners.Owner,
        repository: RepositoryMount,
        found: cluster.Object,
        namespace: str,
    ) -> None:
        run = jobs.MoverRun(
            owner=owner,
            role=keys.ROLE_LIST,
            repository=repository,
            deadline_seconds=_DEADLINE_SECONDS,
            annotations={keys.LISTED_AFTER: _cursor(found)},
        )
        self._movers.start(run, mover_specs.listing(namespace, found.get("after")))

    def _import(
        self, obj: cluster.Object, owner: owners.Owner, found: cluster.Object
    ) -> cluster.Object:
        result = self._movers.observe(owner, keys.ROLE_LIST).result
        lines = self._movers.said(owner, keys.ROLE_LIST, listed_backups.EVENT, lines=_LOG_LINES)
        entries = [line.get("entry") for line in lines]
        if listed_backups.digest(entries) != result.get("digest"):
            return self._in_vain(owner, found, "the log with a page of it is not whole")
        page = [read for entry in entries if (read := imported_backups.parse(entry)) is not None]
        page = [entry for entry in page if entry.namespace == _listed_namespace(obj)]
        made, left = self._make(obj, owner, page)
        found["imported"] = int(found.get("imported") or 0) + made
        if left:
            return found
        skipped = int(result.get("skipped") or 0) + len(entries) - len(page)
        found["skipped"] = int(found.get("skipped") or 0) + skipped
        found["after"] = result.get("nextAfter")
        found["done"] = found["after"] is None
        for name in ("lastTryTime", "message"):
            found.pop(name, None)
        return {name: value for name, value in found.items() if value is not None}

    def _make(
        self, obj: cluster.Object, owner: owners.Owner, page: Sequence[Entry]
    ) -> tuple[int, bool]:
        """Makes objects of a page; returns how many, and whether some are left."""
        present = {
            _known_as(backup): backup
            for backup in self._objects.find(resources.BACKUPS, owner.namespace)
            if backup.get("spec", {}).get("repositoryName") == owner.name
        }
        made = 0
        for entry in page:
            backup = present.get(entry.backup_id)
            if backup is not None and not _is_bare(backup):
                continue
            if made == listing_plan.OBJECTS_PER_LOOK:
                return made, True
            backup = backup or self._create(entry, owner)
            self._record(backup, entry, str(obj.get("status", {}).get("repositoryId", "")))
            made += 1
        return made, False

    def _create(self, entry: Entry, owner: owners.Owner) -> cluster.Object:
        for name in imported_backups.names(entry):
            try:
                body = imported_backups.backup(entry, name, owner)
                return self._objects.create(resources.BACKUPS, body)
            except (errors.AlreadyExists, errors.InvalidInput):
                continue  # another backup's name, or one that is none: the id is the next
        raise errors.Busy(f"the names of backup {entry.backup_id} are taken")

    def _record(self, backup: cluster.Object, entry: Entry, repository_id: str) -> None:
        moment = statuses.timestamp(entry.point_in_time)
        text = f"found in the repository; claim {entry.claim_name} as of {moment}"
        fields = imported_backups.status(entry, repository_id)
        fields["suspect"] = suspect_backups.field(entry.suspect)
        fields["conditions"] = suspect_backups.conditions(backup, fields, self._time.now())
        verdict = verdicts.done("Imported", text)
        self._recorder.report(resources.BACKUPS, backup, "Succeeded", verdict, fields)

    def _in_vain(self, owner: owners.Owner, found: cluster.Object, why: str) -> cluster.Object:
        self._movers.remove(owner, keys.ROLE_LIST)
        now = statuses.timestamp(self._time.now())
        return {**found, "lastTryTime": now, "message": f"{why}; tried again every minute"[:500]}


def is_imported(backup: cluster.Object) -> bool:
    """Whether a Backup was found in a repository, so that there is nothing to run."""
    return keys.IMPORTED in backup["metadata"].get("annotations", {})


def _listed_namespace(obj: cluster.Object) -> str:
    metadata = obj["metadata"]
    return str(metadata.get("annotations", {}).get(keys.LIST_NAMESPACE) or metadata["namespace"])


def _is_bare(backup: cluster.Object) -> bool:
    """Whether a Backup was made from a page, and a kill came before its status."""
    return is_imported(backup) and "backupId" not in backup.get("status", {})


def _known_as(backup: cluster.Object) -> str:
    """Returns a Backup's id in its repository; one made here has its own uid there."""
    metadata = backup["metadata"]
    recorded = backup.get("status", {}).get("backupId")
    return str(recorded or metadata.get("annotations", {}).get(keys.IMPORTED) or metadata["uid"])


def _cursor(found: cluster.Object) -> str:
    return f"{found.get('request', '')}/{found.get('after') or ''}"
