"""Who may call what: the identity is the certificate's, the list is here.

A peer proves a role, and a node agent its node's name, by the URI in its certificate:
`spiffe://mooring.dev/controller`, `spiffe://mooring.dev/operator`, `spiffe://mooring.dev/node/<name>`.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mooring.domain import errors, ids

TRUST_DOMAIN = "mooring.dev"
_PREFIX = f"spiffe://{TRUST_DOMAIN}/"
_SERVICE = "/mooring.agent.v1.NodeAgent/"


class Role(enum.StrEnum):
    """What a process is."""

    CONTROLLER = "controller"
    OPERATOR = "operator"
    NODE = "node"


@dataclass(frozen=True)
class Identity:
    """A role, and for a node agent its node's name.

    Attributes:
        role: What the process is.
        node: The node's name; None for the other roles.
    """

    role: Role
    node: ids.NodeName | None = None

    @property
    def uri(self) -> str:
        """The URI that stands in the certificate."""
        return f"{_PREFIX}{self.role}" + (f"/{self.node}" if self.node else "")

    @property
    def dns_name(self) -> str:
        """The DNS name that stands in the certificate; a client checks it, not the address."""
        if self.node is not None:
            return f"{self.node}.node.{TRUST_DOMAIN}"
        return f"{self.role}.{TRUST_DOMAIN}"


def parse_uri(uri: str) -> Identity | None:
    """Reads an identity's URI; None when it is none of ours."""
    if not uri.startswith(_PREFIX):
        return None
    role, _, node = uri.removeprefix(_PREFIX).partition("/")
    try:
        if role == Role.NODE:
            return Identity(Role.NODE, ids.parse_node_name(node))
        return None if node else Identity(Role(role))
    except (ValueError, errors.InvalidInput):
        return None


def peer(auth_context: Mapping[str, Sequence[bytes]]) -> Identity:
    """Returns the identity that a peer's certificate holds.

    Raises:
        PermissionDenied: It holds none of ours.
    """
    found = [
        identity
        for uri in auth_context.get("peer_uri", ())
        if (identity := parse_uri(uri.decode(errors="replace"))) is not None
    ]
    if len(found) != 1:
        raise errors.PermissionDenied("the peer's certificate holds no identity of Mooring")
    return found[0]


@dataclass(frozen=True)
class Rules:
    """Which full method names each role may call."""

    methods: Mapping[Role, frozenset[str]]

    def check(self, method: str, auth_context: Mapping[str, Sequence[bytes]]) -> None:
        """Refuses a call that the peer's certificate does not allow.

        Args:
            method: Full name, for example /mooring.agent.v1.NodeAgent/CreateVolume.
            auth_context: What TLS proved, as gRPC gives it.

        Raises:
            PermissionDenied: The peer has no identity of ours, or not this right.
        """
        found = peer(auth_context)
        if method not in self.methods.get(found.role, frozenset()):
            raise errors.PermissionDenied(f"{found.uri} may not call {method}")


def _methods(*names: str) -> frozenset[str]:
    return frozenset(_SERVICE + name for name in names)


_READS = ("Hello", "ListVolumes", "ListPools", "ListSnapshots")
AGENT_RULES = Rules(
    {
        Role.CONTROLLER: _methods(
            "CreateVolume",
            "DeleteVolume",
            "ExpandVolume",
            "CreateSnapshot",
            "DeleteSnapshot",
            "OfferSnapshot",
            "ReadRanges",
            *_READS,
        ),
        Role.OPERATOR: _methods(
            "CreateVolume",
            "DeleteVolume",
            "ExpandVolume",
            "FinishFilling",
            "CreateSnapshot",
            "KeepBase",
            "DeleteSnapshot",
            "OfferSnapshot",
            *_READS,
        ),
        # Only what the controller offered to the node of that name; see `volumes.local.outgoing`.
        # The pools tell whether one that was moved there is still here; see `agent.pool_sightings`.
        Role.NODE: _methods("Hello", "ReadSnapshot", "ListPools"),
    }
)
