"""`mooring backup-now`: asks a BackupSchedule for a run at once."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from mooring.api import keys
from mooring.api.v1alpha1 import kinds
from mooring.domain import errors
from mooring.planning import backup_schedule_plan
from mooring.ports import cluster
from mooring_cli import compose, options, render

NAME = "backup-now"
_KIND = kinds.BACKUP_SCHEDULE
_SCHEDULES = cluster.Resource(keys.API_VERSION, _KIND.kind, _KIND.plural)
Schedule = Annotated[str, typer.Argument(help="namespace/name of the BackupSchedule.")]
Run = Annotated[
    str | None,
    typer.Option(help="A name for the run; asked for again under this name, nothing is made."),
]
Kubeconfig = Annotated[str | None, typer.Option(help="The cluster, and who you are in it.")]
Context = Annotated[str | None, typer.Option(help="Context of the kubeconfig.")]


def backup_now(
    schedule: Schedule,
    run: Run = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    output: options.Output = options.OutputFormat.TEXT,
) -> None:
    """Has the claims of a BackupSchedule backed up now, also while it is suspended."""
    namespace, slash, name = schedule.partition("/")
    if not (namespace and slash and name):
        raise errors.InvalidInput(
            f"{schedule[:80]!r} names no BackupSchedule: write namespace/name, for example "
            "shop/nightly"
        )
    wanted = backup_schedule_plan.parse_run_name(
        run if run is not None else f"now-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    )
    known = _ask(compose.open_cluster(kubeconfig, context), namespace, name, wanted)
    render.show(
        {
            "schedule": schedule,
            "run": wanted,
            "state": "was asked for before: nothing more is made" if known else "asked for",
            "next": f"kubectl get backups -n {namespace} -l {keys.BACKUP_RUN}={wanted} -w",
        },
        output,
    )


def _ask(objects: cluster.ClusterObjects, namespace: str, name: str, run: str) -> bool:
    """Writes the wish onto the schedule; returns whether it was there before.

    Raises:
        NotFound: There is no such schedule.
        Busy: Another run was asked for and has not begun, or the schedule changes just now.
    """
    obj = objects.get(_SCHEDULES, name, namespace)
    if obj is None:
        raise errors.NotFound(f"there is no BackupSchedule {name} in namespace {namespace}")
    metadata = obj["metadata"]
    begun = obj.get("status", {}).get("askedRuns") or []
    asked = (metadata.get("annotations") or {}).get(keys.RUN_NOW)
    if run == asked or run in begun:
        return True
    if _is_pending(asked, begun):
        raise errors.Busy(f"run {str(asked)[:80]!r} was asked for and has not begun yet")
    change = {
        "metadata": {
            "annotations": {keys.RUN_NOW: run},
            "resourceVersion": metadata["resourceVersion"],
        }
    }
    objects.patch(_SCHEDULES, name, change, namespace)
    return False


def _is_pending(asked: str | None, begun: Sequence[str]) -> bool:
    """Whether a run was asked for that would be lost under another's name."""
    try:
        return asked is not None and backup_schedule_plan.parse_run_name(asked) not in begun
    except errors.InvalidInput:
        return False
