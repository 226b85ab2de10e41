"""Ports of identity: where the authority's key is kept, and who a token belongs to."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class TokenOwner:
    """What the API server says of a service account token.

    Attributes:
        account: `system:serviceaccount:<namespace>:<name>`.
        node: Name of the node that the token's pod runs on; empty when unknown.
    """

    account: str
    node: str


class TokenReviewer(Protocol):
    """The API server's word on tokens."""

    def review(self, token: str, audience: str) -> TokenOwner:
        """Returns a token's owner.

        Raises:
            PermissionDenied: The token is not valid for that audience.
            Unreachable: The API server does not answer.
        """


class AuthorityStore(Protocol):
    """The one place that keeps the certificate authority, for example a Secret."""

    def read(self) -> bytes | None:
        """Returns what is stored, or None before the first time."""

    def create(self, content: bytes) -> bytes:
        """Stores the content if there is none, and returns what is stored then.

        Two processes that create at once both get the one that won.
        """
