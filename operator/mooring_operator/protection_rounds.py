"""The round over all claims for those without a backup as recent as it should be."""

import contextlib
from collections import Counter
from collections.abc import Mapping

from mooring.api import keys
from mooring.domain import errors
from mooring.planning import protection, verdicts
from mooring.planning.protection import Standing
from mooring.ports import clock, cluster
from mooring_operator import claim_protection, resources, suspect_backups
from mooring_operator.claim_classes import ClaimClasses, repository_claims
from mooring_operator.metrics import ClaimGauges
from mooring_operator.recorder import Recorder
from mooring_operator.work_queue import Key

KIND = "Protection"
KEY = Key(KIND, "", "round")
_ROUND_SECONDS = 60.0


class ProtectionRounds:
    """Counts and labels unprotected claims, and says when one becomes so and when no more."""

    def __init__(
        self,
        objects: cluster.ClusterObjects,
        recorder: Recorder,
        time: clock.Clock,
        gauges: ClaimGauges,
    ) -> None:
        self._objects = objects
        self._recorder = recorder
        self._time = time
        self._gauges = gauges
        self._said: set[str] = set()

    def reconcile(self, _: Key) -> float | None:
        """Looks at every claim once; returns when to look again, in seconds."""
        backups = self._objects.find(resources.BACKUPS)
        now = self._time.now()
        newest = claim_protection.newest_good(backups, now)
        doubtful = suspect_backups.suspect_claims(backups, now)
        owners = {_place(obj): obj for obj in self._objects.find(resources.VOLUME_CLAIMS)}
        stores = repository_claims(self._objects)
        classes = ClaimClasses(self._objects)
        unprotected: Counter[str] = Counter()
        suspect: Counter[str] = Counter()
        present: set[str] = set()
        for claim in self._objects.find(cluster.CLAIMS):
            place = _place(claim)
            if place in stores or not claim_protection.counts(claim) or not classes.is_ours(claim):
                continue
            uid = claim["metadata"]["uid"]
            found = claim_protection.judge(
                claim, _owner(claim, owners), classes.of(claim), newest.get(uid), now
            )
            present.add(uid)
            unprotected[place[0]] += found.standing is Standing.UNPROTECTED
            suspect[place[0]] += uid in doubtful
            self._mark(claim, found)
            self._say(claim, found)
        self._said &= present
        self._gauges.unprotected.set(unprotected)
        self._gauges.suspect.set(suspect)
        return _ROUND_SECONDS

    def _mark(self, claim: cluster.Object, found: protection.Protection) -> None:
        """Labels a claim that is unprotected, so that people find those that the gauge counts."""
        wanted = found.reason if found.standing is Standing.UNPROTECTED else None
        metadata = claim["metadata"]
        if (metadata.get("labels") or {}).get(keys.UNPROTECTED) == wanted:
            return
        change = {"metadata": {"labels": {keys.UNPROTECTED: wanted}}}
        with contextlib.suppress(errors.NotFound):
            self._objects.patch(cluster.CLAIMS, metadata["name"], change, metadata["namespace"])

    def _say(self, claim: cluster.Object, found: protection.Protection) -> None:
        """Writes an Event about a change, where somebody said how old a backup may be."""
        uid = claim["metadata"]["uid"]
        if found.standing is Standing.UNPROTECTED:
            if found.expected and uid not in self._said:
                self._recorder.event(claim, verdicts.stuck(found.reason, found.message))
                self._said.add(uid)
        elif uid in self._said:
            self._recorder.event(claim, verdicts.done(found.reason, found.message))
            self._said.discard(uid)


def _place(obj: cluster.Object) -> tuple[str, str]:
    return obj["metadata"]["namespace"], obj["metadata"]["name"]


def _owner(
    claim: cluster.Object, owners: Mapping[tuple[str, str], cluster.Object]
) -> cluster.Object | None:
    name = (claim["metadata"].get("labels") or {}).get(keys.VOLUME_CLAIM, "")
    return owners.get((claim["metadata"]["namespace"], name))
