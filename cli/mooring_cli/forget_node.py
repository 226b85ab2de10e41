"""`mooring forget-node`: what was on a node that is gone for good, and letting go of it."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from mooring.domain import ids, quantities
from mooring.volumes.fleet.farewell import Left
from mooring_cli import compose, options, render

NAME = "forget-node"
_COLUMNS = ("volume", "claim", "size", "state", "persistentVolume", "becomes")
Node = Annotated[str, typer.Argument(help="The node, which has no Node object any more.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it; without this it is only shown.")]
Kubeconfig = Annotated[str | None, typer.Option(help="The cluster, and who you are in it.")]
Context = Annotated[str | None, typer.Option(help="Context of the kubeconfig.")]


def forget_node(
    node: Node,
    yes: Yes = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    output: options.Output = options.OutputFormat.TEXT,
) -> None:
    """Says that a removed node is gone for good, so that its volumes' claims can be deleted.

    Nothing on its disk is touched. A node that returns all the same shows its volumes again.
    """
    farewell = compose.open_farewell(kubeconfig, context)
    name = ids.parse_node_name(node)
    left = farewell.left_on(name)
    if yes:
        farewell.forget(left)
    render.show_table([_row(one) for one in left], _COLUMNS, output)
    if output is options.OutputFormat.TEXT:
        typer.echo(_ending(name, left, yes=yes))


def _row(one: Left) -> dict[str, Any]:
    return {
        "volume": one.entry.spec.volume_id,
        "claim": str(one.claim or "") or None,
        "size": quantities.format_bytes(one.entry.spec.size_bytes),
        "state": _state(one),
        "persistentVolume": one.volume,
        "becomes": "forgotten with its PersistentVolume" if one.volume else "forgotten",
        "then": _then(one),
    }


def _state(one: Left) -> str | None:
    if one.entry.deletion_requested:
        return "Deleting"
    return one.entry.status.record.state.value if one.entry.status else None


def _then(one: Left) -> str | None:
    if one.volume is None:
        return None
    claim, volume = one.claim, f"kubectl delete pv {one.volume}"
    if claim is None:
        return volume
    first = f"kubectl delete pvc {claim.name} -n {claim.namespace}"
    return f"{first}; {volume}" if one.kept else first


def _ending(node: ids.NodeName, left: Sequence[Left], *, yes: bool) -> str:
    if not left:
        return f"no volume is known to be on a node {node}: there is nothing to forget"
    if not yes:
        return (
            "nothing was changed. If the node is gone for good: "
            f"kubectl mooring {NAME} {node} --yes"
        )
    commands = [command for one in left if (command := _then(one))]
    if any(one.volume is not None and one.kept for one in left):
        # A kept PersistentVolume does not tell the driver when it is deleted.
        commands.append(f"kubectl mooring {NAME} {node} --yes")
    if not commands:
        return f"node {node} is forgotten"
    return "\n".join(["to let go of its claims, as soon as nothing of them is wanted:", *commands])
