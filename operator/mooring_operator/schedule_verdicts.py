"""How a BackupSchedule stands, in words. Pure."""

from datetime import UTC, datetime
from typing import Any

from mooring.api.v1alpha1 import backup_schedules as models
from mooring.domain import errors
from mooring.planning import verdicts

_WAYS = "spec.claims selects nothing that can be backed up now"


def of(
    spec: models.BackupScheduleSpec, status: dict[str, Any], failure: errors.MooringError | None
) -> verdicts.Verdict:
    """Says how a schedule stands.

    Args:
        spec: What is asked for.
        status: Its status as it is going to be.
        failure: What hinders it.
    """
    if failure is not None:
        return verdicts.stuck(failure.reason, str(failure))
    last = status.get("lastRun") or {}
    if last.get("outcome") in ("Failed", "PartlyFailed"):
        return _failed(last)
    if status.get("active"):
        count = len(status["active"])
        return verdicts.done("Running", f"{count} {'backup' if count == 1 else 'backups'} run now")
    if spec.suspend:
        return verdicts.done("Suspended", "spec.suspend is set: no run is made until it is not")
    if not status.get("selectedClaims"):
        return verdicts.stuck("NothingSelected", _nothing(status))
    text = f"the next run is due at {status.get('nextScheduleTime')}"
    return verdicts.done("Scheduled", text)


def missed(at: datetime) -> verdicts.Verdict:
    """Says that a time has passed for good."""
    text = f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC passed without a run"
    return verdicts.stuck(
        "MissedSchedule", f"{text}, and spec.startingDeadlineSeconds is over: the next one is made"
    )


def _failed(last: dict[str, Any]) -> verdicts.Verdict:
    bad = last["backups"] - last["succeeded"]
    return verdicts.stuck(
        "LastRunFailed",
        f"{bad} of {last['backups']} backups of run {last['name']} failed: "
        f"kubectl get backups -l mooring.dev/run={last['name']} -o wide",
    )


def _nothing(status: dict[str, Any]) -> str:
    left_out = [f"{entry['name']}: {entry['reason']}" for entry in status.get("leftOut") or []]
    return f"{_WAYS} ({'; '.join(left_out[:5])})" if left_out else _WAYS
