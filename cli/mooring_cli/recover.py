"""`mooring recover`: the claims of a namespace, from the newest good backup of each."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from mooring.domain import errors, quantities
from mooring.planning.recovery_plan import Step
from mooring.volumes.fleet.recovery import State
from mooring_cli import compose, options, render

NAME = "recover"
_COLUMNS = ("claim", "action", "backup", "takenAt", "size", "storageClass", "note")
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="Whose claims.")]
Repository = Annotated[
    str | None, typer.Option(help="Only what this BackupRepository holds; default: all of them.")
]
StorageClass = Annotated[
    list[str] | None,
    typer.Option(metavar="OLD=NEW", help="Another class for one that is missing; can be repeated."),
]
Now = Annotated[
    bool,
    typer.Option("--now", help="Fill new ones at once, on the roomiest nodes, and wait."),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do it; without this it is only shown.")]
Kubeconfig = Annotated[str | None, typer.Option(help="The cluster, and who you are in it.")]
Context = Annotated[str | None, typer.Option(help="Context of the kubeconfig.")]
Timeout = Annotated[float, typer.Option(help="With --now: how many seconds to wait.")]


def recover(  # noqa: PLR0913, PLR0917 - parameters are the command line
    namespace: Namespace,
    repository: Repository = None,
    storage_class: StorageClass = None,
    now: Now = False,
    yes: Yes = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    timeout: Timeout = 3600.0,
    output: options.Output = options.OutputFormat.TEXT,
) -> None:
    """Makes the claims of a lost cluster again; claims that exist are never touched."""
    renamed = dict(_pair(text) for text in storage_class or [])
    recovery = compose.open_recovery(kubeconfig, context)
    steps = recovery.plan(namespace, repository, renamed)
    states: list[State] = []
    if yes:
        recovery.carry_out(steps, namespace, now=now)
        if now:
            tell = _teller(quiet=output is not options.OutputFormat.TEXT)
            states = recovery.follow(steps, namespace, tell, timeout_seconds=timeout)
    render.show_table([_row(step) for step in steps], _COLUMNS, output)
    if output is options.OutputFormat.TEXT:
        typer.echo(_ending(steps, namespace, yes=yes, now=now))
    _require_whole(states)


def _pair(text: str) -> tuple[str, str]:
    old, sign, new = text.partition("=")
    if not (old and sign and new):
        raise errors.InvalidInput(f"--storage-class {text[:80]!r} is not of the form OLD=NEW")
    return old, new


def _teller(*, quiet: bool) -> Callable[[Sequence[State]], None]:
    """Returns what writes each change of a restore to standard error."""
    said: dict[str, str] = {}

    def tell(states: Sequence[State]) -> None:
        for state in states:
            percent = "" if state.percent is None else f"{state.percent} % "
            text = "whole again" if state.good else f"{percent}{state.message}"
            if not quiet and said.get(state.claim) != text:
                said[state.claim] = text
                typer.echo(f"{state.claim}: {text}", err=True)

    return tell


def _row(step: Step) -> dict[str, Any]:
    return {
        "claim": step.point.claim,
        "action": step.action.value,
        "backup": step.point.backup,
        "takenAt": f"{step.point.taken_at:%Y-%m-%d %H:%M:%S}",
        "size": quantities.format_bytes(step.point.size_bytes),
        "storageClass": step.storage_class or None,
        "restore": step.restore or None,
        "note": step.note or None,
    }


def _ending(steps: Sequence[Step], namespace: str, *, yes: bool, now: bool) -> str:
    if not steps:
        return f"namespace {namespace} has no good backup of any claim"
    if not yes:
        return "nothing was changed; with --yes it is done"
    if now:
        return "start the pods"
    return (
        "start the pods: their nodes decide where the data goes, and they wait until it is whole. "
        f"See kubectl -n {namespace} get restores"
    )


def _require_whole(states: Sequence[State]) -> None:
    failed = [state for state in states if not state.good]
    if failed:
        raise errors.PreconditionFailed(
            f"{len(failed)} of {len(states)} claims did not come back, such as "
            f"{failed[0].claim}: {failed[0].message}"
        )
