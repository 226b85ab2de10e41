"""Verdicts to conditions, and statuses to patches. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mooring.planning import verdicts
from mooring.ports import cluster

_MESSAGE_LIMIT = 2000


def timestamp(moment: datetime) -> str:
    """Writes a moment as Kubernetes does: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_timestamp(text: str | None) -> datetime | None:
    """Reads a moment as Kubernetes writes it; None for what is no time."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Words:
    """What a condition says: its status, a word why, and a sentence."""

    status: str
    reason: str
    message: str


def entry(obj: cluster.Object, name: str, words: Words, now: datetime) -> dict[str, Any]:
    """Returns one condition of an object; its time changes only with its status."""
    return {
        "type": name,
        "status": words.status,
        "observedGeneration": obj["metadata"].get("generation", 1),
        "lastTransitionTime": _transition(condition(obj, name), words.status, now),
        "reason": words.reason,
        "message": words.message[:_MESSAGE_LIMIT],
    }


def conditions(
    main: str, verdict: verdicts.Verdict, obj: cluster.Object, now: datetime
) -> list[dict[str, Any]]:
    """Returns the conditions that say a verdict, in the words of the API conventions and kstatus.

    Args:
        main: `Ready` for what lives on, `Succeeded` for what runs once.
        verdict: How the object stands.
        obj: The object, with its present conditions.
        now: Time of a change.
    """
    outcome = verdict.outcome
    unknown = main == "Succeeded" and outcome in (
        verdicts.Outcome.WORKING,
        verdicts.Outcome.STUCK,
    )
    status = "True" if outcome is verdicts.Outcome.DONE else "Unknown" if unknown else "False"
    is_stuck = outcome in (verdicts.Outcome.STUCK, verdicts.Outcome.FAILED)
    wanted = {
        main: status,
        "Reconciling": _flag(outcome is verdicts.Outcome.WORKING),
        "Stalled": _flag(is_stuck),
    }
    return [
        entry(obj, name, Words(value, verdict.reason, verdict.message), now)
        for name, value in wanted.items()
    ]


def _flag(value: bool) -> str:
    return "True" if value else "False"


def _transition(present: dict[str, Any], status: str, now: datetime) -> str:
    if present.get("status") == status:
        return str(present["lastTransitionTime"])
    return timestamp(now)


def condition(obj: cluster.Object, name: str) -> dict[str, Any]:
    """Returns one condition of an object, or an empty one."""
    for found in obj.get("status", {}).get("conditions", []):
        if found.get("type") == name:
            return dict(found)
    return {}


def changes(present: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """Returns the JSON merge patch from one status to another; empty when they are equal."""
    patch: dict[str, Any] = {name: None for name in present if name not in wanted}
    for name, value in wanted.items():
        old = present.get(name)
        if isinstance(value, dict) and isinstance(old, dict):
            inner = changes(old, value)
            if inner:
                patch[name] = inner
        elif value != old:
            patch[name] = value
    return patch
