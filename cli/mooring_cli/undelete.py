"""`mooring undelete`: what is in the trash of a cluster, and how to have it back."""

from typing import Annotated, Any

import typer
import yaml

from mooring.api import keys
from mooring.domain import errors, quantities
from mooring.ports import catalogue, cluster
from mooring.volumes.fleet.undeletion import ClaimName, claim_of, parse_claim
from mooring_cli import compose, options, render

NAME = "undelete"
_COLUMNS = ("volume", "claim", "size", "node", "deletedAt", "expiresAt")
What = Annotated[
    str | None,
    typer.Argument(help="A volume's id, or namespace/claim; without it, what is in the trash."),
]
Claim = Annotated[
    str | None,
    typer.Option(help="namespace/name of the claim that shall have it; default: the one it had."),
]
StorageClass = Annotated[
    str | None, typer.Option(help="The claim's StorageClass, when there is no such claim yet.")
]
Kubeconfig = Annotated[str | None, typer.Option(help="The cluster, and who you are in it.")]
Context = Annotated[str | None, typer.Option(help="Context of the kubeconfig.")]
Timeout = Annotated[float, typer.Option(help="How many seconds to wait for the volume's node.")]


def undelete(  # noqa: PLR0913, PLR0917 - parameters are the command line
    what: What = None,
    claim: Claim = None,
    storage_class: StorageClass = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    timeout: Timeout = 90.0,
    output: options.Output = options.OutputFormat.TEXT,
) -> None:
    """Brings back a deleted volume, and makes a PersistentVolume of it for a claim to bind to."""
    trash = compose.open_undeletion(kubeconfig, context)
    if what is None:
        render.show_table([_row(entry) for entry in trash.trashed()], _COLUMNS, output)
        return
    entry = trash.find(what)
    wanted = parse_claim(claim) if claim is not None else claim_of(entry)
    if wanted is None:
        raise errors.InvalidInput(
            f"it is not known which claim volume {entry.spec.volume_id} had: say which one shall "
            "have it, with --claim namespace/name"
        )
    back = trash.bring_back(entry, timeout_seconds=timeout)
    present = trash.claim(wanted)
    body = present or _new_claim(back, wanted, storage_class or keys.DEFAULT_STORAGE_CLASS)
    name = trash.expose(
        back, wanted, body["spec"].get("storageClassName", ""), body["spec"]["accessModes"][0]
    )
    render.show(
        {
            "volume": back.spec.volume_id,
            "node": back.node,
            "persistentVolume": name,
            "claim": str(wanted),
            "next": _next(wanted, name, present),
        },
        output,
    )
    if present is None and output is options.OutputFormat.TEXT:
        typer.echo("---\n" + yaml.safe_dump(body, sort_keys=False), nl=False)


def _row(entry: catalogue.CatalogueEntry) -> dict[str, Any]:
    trashing = entry.status.record.trashing if entry.status else None
    return {
        "volume": entry.spec.volume_id,
        "formerVolume": trashing.volume_id if trashing else None,
        "claim": str(claim_of(entry) or "") or None,
        "size": quantities.format_bytes(entry.spec.size_bytes),
        "node": entry.node,
        "deletedAt": f"{trashing.deleted_at:%Y-%m-%d %H:%M}" if trashing else None,
        "expiresAt": f"{trashing.expires_at:%Y-%m-%d %H:%M}" if trashing else None,
    }


def _new_claim(
    entry: catalogue.CatalogueEntry, name: ClaimName, storage_class: str
) -> cluster.Object:
    spec = entry.spec
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name.name, "namespace": name.namespace},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "volumeMode": spec.mode.value,
            "storageClassName": storage_class,
            "volumeName": spec.volume_id,
            "resources": {"requests": {"storage": quantities.format_bytes(spec.size_bytes)}},
        },
    }


def _next(claim: ClaimName, volume: str, present: cluster.Object | None) -> str:
    if present is None:
        return (
            f"apply the claim below, or let what made claim {claim} before make it again; then "
            "start the pods"
        )
    bound = present["spec"].get("volumeName")
    if bound in (None, "", volume):
        return f"claim {claim} is there and gets it; start the pods"
    return (
        f"claim {claim} has another volume ({bound}) now. Stop its pods and delete the claim "
        f"(kubectl -n {claim.namespace} delete pvc {claim.name}); its volume goes to the trash "
        "unless its reclaim policy is Retain. Then make the claim again: it gets the old data. "
        f"Or keep both: kubectl delete pv {volume}, and undelete it with --claim for another name"
    )
