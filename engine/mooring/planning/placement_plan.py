"""Which node gets a volume, when its claim names one or a set of labels. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mooring.domain import errors, ids, quantities


@dataclass(frozen=True)
class Candidate:
    """A node as a placement sees it.

    Attributes:
        name: The node.
        labels: Its labels.
        ready: Whether its kubelet is.
        available_bytes: Largest volume it would take; None when its agent is not known.
    """

    name: ids.NodeName
    labels: Mapping[str, str]
    ready: bool
    available_bytes: int | None


@dataclass(frozen=True)
class Wish:
    """What a claim says of its place: a node, or labels."""

    node: ids.NodeName | None = None
    selector: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Choice:
    """A node, and why it was chosen, in words."""

    node: ids.NodeName
    reason: str


def choose(wish: Wish, candidates: Sequence[Candidate], size_bytes: int) -> Choice:
    """Chooses the node that a claim asked for, or of those with its labels the emptiest.

    Raises:
        PreconditionFailed: There is no such node, or it is not ready.
        SpaceExhausted: None of them has the room.
    """
    if wish.node is not None:
        found = [node for node in candidates if node.name == wish.node]
        if not found:
            raise errors.PreconditionFailed(
                f"spec.placement.node: there is no node {wish.node!r}; see kubectl get nodes"
            )
        return _roomiest(found, size_bytes, "spec.placement.node asks for it")
    selector = wish.selector or {}
    found = [
        node
        for node in candidates
        if all(node.labels.get(key) == value for key, value in selector.items())
    ]
    if not found:
        raise errors.PreconditionFailed(
            "spec.placement.nodeSelector: no node has all these labels; label one, or change it"
        )
    return _roomiest(found, size_bytes, "of the nodes of spec.placement it has the most room")


def choose_for_copy(
    wish: Wish, candidates: Sequence[Candidate], size_bytes: int, source: ids.NodeName
) -> Choice:
    """Chooses a node for a copy: its source's, unless something else is asked for or it is full.

    Raises:
        PreconditionFailed: There is no such node, or it is not ready.
        SpaceExhausted: None of them has the room.
    """
    beside = [node for node in candidates if node.name == source]
    others = [node for node in candidates if node.name != source]
    try:
        choice = choose(wish, beside, size_bytes)
    except errors.PreconditionFailed:
        if wish == Wish():
            raise  # it is away, and nothing can be copied from it
        choice = choose(wish, others, size_bytes)
    except errors.SpaceExhausted:
        if wish.node is not None or not others:
            raise
        choice = choose(wish, others, size_bytes)
    if choice.node == source:
        return Choice(source, "its source is there, so the copy is made beside it")
    return Choice(choice.node, f"{choice.reason}; it is copied there from node {source}")


def _roomiest(found: Sequence[Candidate], size_bytes: int, why: str) -> Choice:
    alive = [node for node in found if node.ready and node.available_bytes is not None]
    if not alive:
        raise errors.PreconditionFailed(_none_serves(found))
    best = max(alive, key=lambda node: (node.available_bytes or 0, node.name))
    if (best.available_bytes or 0) < size_bytes:
        raise errors.SpaceExhausted(
            f"{best.name} has room for {quantities.show_bytes(best.available_bytes or 0)}, not "
            f"for {quantities.show_bytes(size_bytes)}; free space, or add a node or pool"
        )
    return Choice(best.name, why)


def _none_serves(found: Sequence[Candidate]) -> str:
    away = ", ".join(node.name for node in found if not node.ready)
    bare = ", ".join(node.name for node in found if node.ready)
    said = []
    if away:
        said.append(f"node {away} is not ready, see kubectl describe node {away.split(', ')[0]}")
    if bare:
        agents = "kubectl -n mooring-system get pods -o wide"
        said.append(f"node {bare} has no Mooring agent with a healthy pool, see {agents}")
    advice = "It goes on once that is mended; or ask for another place in spec.placement"
    return f"the data cannot go where it shall: {'; '.join(said)}. {advice}"
