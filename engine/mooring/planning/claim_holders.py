"""What holds a claim or its data up: pods, finalizers, a node, a full pool; and the cure. Pure.

A claim that is to be deleted stays while a pod has it, and a pod on a node that is gone cannot
end. Only people know whether such a node is switched off or merely out of reach and still writing,
so the command is named, with what it takes to be safe, and never run.
"""

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mooring.planning import verdicts

OWN_FINALIZERS = ("kubernetes.io/pvc-protection",)
"""Of a claim: it is there because of the pods, which are named instead."""
_SHOWN_PODS = 8


class NodeState(enum.Enum):
    """What Kubernetes says of a node."""

    READY = "Ready"
    SILENT = "Silent"  # not ready, or nothing was heard of it for too long
    SHUT_DOWN = "ShutDown"  # somebody said with the out-of-service taint that it is off
    REMOVED = "Removed"  # it has no Node object


@dataclass(frozen=True)
class Holder:
    """A pod on a node that has a claim.

    Attributes:
        pod: Its name.
        node: The node that it is on.
        node_state: See `NodeState`.
        ending: Whether its deletion was asked for.
        overdue: Whether it should have ended by now.
        finalizers: What else keeps its object.
    """

    pod: str
    node: str
    node_state: NodeState = NodeState.READY
    ending: bool = False
    overdue: bool = False
    finalizers: Sequence[str] = ()


def hold_on(
    namespace: str, claim: str, holders: Sequence[Holder], finalizers: Sequence[str]
) -> verdicts.Verdict | None:
    """Says what keeps a claim that is to be deleted; None when nothing is known to.

    Args:
        namespace: The claim's.
        claim: Its name.
        holders: The pods that have it.
        finalizers: The claim's.
    """
    hanging = [one for one in holders if _hangs(one)]
    if hanging:
        return verdicts.stuck("NodeUnreachable", _of_silent_nodes(namespace, claim, hanging))
    living = [one.pod for one in holders if not one.ending]
    if living:
        return verdicts.stuck(
            "InUse",
            f"claim {claim} is kept as long as pods use it: kubectl delete pod "
            f"{_listed(living)} -n {namespace}",
        )
    kept = [one for one in holders if one.overdue and one.finalizers]
    if kept:
        return verdicts.stuck("HeldByFinalizer", _of_kept_pod(namespace, claim, kept[0]))
    if holders:
        pods = _listed([one.pod for one in holders])
        return verdicts.working("InUse", f"claim {claim} waits for pods to end: {pods}")
    foreign = [name for name in finalizers if name not in OWN_FINALIZERS]
    if foreign:
        return verdicts.stuck("HeldByFinalizer", _of_finalizers(namespace, claim, foreign))
    return None


def _hangs(holder: Holder) -> bool:
    return holder.node_state is NodeState.SILENT


def _of_silent_nodes(namespace: str, claim: str, hanging: Sequence[Holder]) -> str:
    by_node = _by_node(hanging)
    nodes = ", ".join(by_node)
    pods = _listed([one.pod for one in hanging])
    first = next(iter(by_node))
    return (
        f"claim {claim} is kept by pods on node {nodes}, which does not answer, so they cannot "
        f"end: bring the node back. Or, only if it is surely switched off, because a node that "
        f"still runs goes on writing: kubectl delete pod {pods} -n {namespace} --force "
        f"--grace-period=0. For all pods of a node that is off: kubectl taint node {first} "
        "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute, and take it off before the "
        "node is switched on again"
    )


def _of_kept_pod(namespace: str, claim: str, holder: Holder) -> str:
    names = ", ".join(holder.finalizers)
    return (
        f"claim {claim} is kept by pod {holder.pod}, which has ended but is kept by {names}: what "
        "set it has to take it off. If that is gone for good: kubectl patch pod "
        f"{holder.pod} -n {namespace} --type=merge "
        '-p \'{"metadata":{"finalizers":null}}\''
    )


def _of_finalizers(namespace: str, claim: str, foreign: Sequence[str]) -> str:
    return (
        f"claim {claim} is kept by {', '.join(foreign)}: what set it has to take it off; see "
        f"kubectl describe pvc {claim} -n {namespace}"
    )


def data_away(
    claim: str, node: str, state: NodeState, holders: Sequence[Holder] = ()
) -> verdicts.Verdict | None:
    """Says of a bound claim that its node is gone, and what then; None while it is there."""
    if state is NodeState.REMOVED:
        return verdicts.stuck(
            "NodeRemoved",
            f"the data of claim {claim} is on node {node}, which was removed from the cluster. A "
            "machine that comes back under this name with its disk brings it back, or its disk "
            "in another node. If it is gone for good: restore a Backup, and kubectl mooring "
            f"forget-node {node}",
        )
    if state is NodeState.READY:
        return None
    hanging = [one.pod for one in holders if one.node == node and one.ending]
    pods = f"; pods that cannot end until then: {_listed(hanging)}" if hanging else ""
    return verdicts.stuck(
        "NodeUnreachable",
        f"the data of claim {claim} is on node {node}, which does not answer. It is there again, "
        f"and its pods go on, as soon as the node is back{pods}. To go on elsewhere, restore a "
        "Backup to another claim",
    )


def writes_wait(claim: str, why: str) -> verdicts.Verdict:
    """Says of a claim that its volume is frozen for want of room, and what gives it some.

    Args:
        claim: Its name.
        why: What the volume's node says.
    """
    return verdicts.stuck("WritesWait", f"what pods write to claim {claim} waits: {why}")


def writes_go_on(claim: str) -> verdicts.Verdict:
    """Says that the above is over."""
    return verdicts.done("WritesWaitOver", f"writes to claim {claim} wait for room no more")


def _by_node(holders: Iterable[Holder]) -> Mapping[str, Sequence[Holder]]:
    found: dict[str, list[Holder]] = {}
    for holder in holders:
        found.setdefault(holder.node, []).append(holder)
    return found


def _listed(pods: Sequence[str]) -> str:
    more = f" (and {len(pods) - _SHOWN_PODS} more)" if len(pods) > _SHOWN_PODS else ""
    return " ".join(pods[:_SHOWN_PODS]) + more
