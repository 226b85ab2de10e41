"""Who a service account token belongs to, as the API server says: account and node."""

from mooring.domain import errors
from mooring.ports import cluster, identities

_NODE_NAME = "authentication.kubernetes.io/node-name"


class KubernetesTokenReviewer:
    """`ports.identities.TokenReviewer` by the TokenReview API."""

    def __init__(self, objects: cluster.ClusterObjects) -> None:
        self._objects = objects

    def review(self, token: str, audience: str) -> identities.TokenOwner:
        """Returns a token's owner; the token itself is never repeated in an error."""
        body = {
            "apiVersion": cluster.TOKEN_REVIEWS.api_version,
            "kind": cluster.TOKEN_REVIEWS.kind,
            "metadata": {"name": "review"},
            "spec": {"token": token, "audiences": [audience]},
        }
        status = self._objects.create(cluster.TOKEN_REVIEWS, body).get("status", {})
        if not status.get("authenticated") or audience not in status.get("audiences", []):
            raise errors.PermissionDenied("the token is not valid here, or for another audience")
        user = status.get("user", {})
        nodes = user.get("extra", {}).get(_NODE_NAME) or [""]
        return identities.TokenOwner(str(user.get("username", "")), str(nodes[0]))
