"""Who a service account token belongs to, as the API server says: account and node."""

from mooring.domain import errors
from mooring.ports import cluster

_NODE_NAME = "authentication.kubernetes.io/node-name"
_POD_NAME = "authentication.kubernetes.io/pod-name"


def review(objects: cluster.ClusterObjects, token: str, audience: str) -> tuple[str, str, str]:
    """Returns user name, node name and pod name that a token proves; the latter may be empty.

    Raises:
        PermissionDenied: The token is not valid for that audience. The token is not repeated.
    """
    body = {
        "apiVersion": cluster.TOKEN_REVIEWS.api_version,
        "kind": cluster.TOKEN_REVIEWS.kind,
        "spec": {"token": token, "audiences": [audience]},
    }
    status = objects.create(cluster.TOKEN_REVIEWS, body).get("status", {})
    if not status.get("authenticated") or audience not in status.get("audiences", []):
        raise errors.PermissionDenied("the token is not valid here, or for another audience")
    user = status.get("user", {})
    extra = user.get("extra", {})
    return (
        str(user.get("username", "")),
        _first(extra.get(_NODE_NAME)),
        _first(extra.get(_POD_NAME)),
    )


def _first(values: list[str] | None) -> str:
    return values[0] if values else ""
