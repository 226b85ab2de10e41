"""Where the certificate authority is kept: its key in a Secret, its certificate in a ConfigMap.

Only the operator may read the Secret. Everybody of Mooring reads the ConfigMap, which is what
proves the operator to an agent that has no certificate yet.
"""

import base64
import binascii

from mooring.api import keys
from mooring.domain import errors
from mooring.ports import cluster

NAME = "mooring-authority"
_ENTRY = "authority.pem"
_LABELS = {keys.NAME: keys.NAME_VALUE}


class SecretAuthorityStore:
    """`ports.identities.AuthorityStore` in one Secret."""

    def __init__(self, objects: cluster.ClusterObjects, namespace: str = keys.NAMESPACE) -> None:
        self._objects = objects
        self._namespace = namespace

    def read(self) -> bytes | None:
        """Returns what is stored, or None before the first time."""
        found = self._objects.get(cluster.SECRETS, NAME, self._namespace)
        if found is None:
            return None
        try:
            return base64.b64decode(found.get("data", {})[_ENTRY], validate=True)
        except (KeyError, binascii.Error) as error:
            raise errors.DataCorrupt(
                f"Secret {NAME} of {self._namespace} holds no authority; delete it for a new one"
            ) from error

    def create(self, content: bytes) -> bytes:
        """Stores the content if there is none, and returns what is stored then."""
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": NAME, "namespace": self._namespace, "labels": _LABELS},
            "type": "Opaque",
            "data": {_ENTRY: base64.b64encode(content).decode()},
        }
        try:
            self._objects.create(cluster.SECRETS, body)
        except errors.AlreadyExists:
            return self.read() or self.create(content)
        return content


def publish(
    objects: cluster.ClusterObjects, certificate_pem: bytes, namespace: str = keys.NAMESPACE
) -> None:
    """Writes the authority's certificate where agents and controller read it; idempotent."""
    data = {_ENTRY: certificate_pem.decode()}
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": NAME, "namespace": namespace, "labels": _LABELS},
        "data": data,
    }
    try:
        objects.create(cluster.CONFIG_MAPS, body)
    except errors.AlreadyExists:
        objects.patch(cluster.CONFIG_MAPS, NAME, {"data": data}, namespace)


def published(objects: cluster.ClusterObjects, namespace: str = keys.NAMESPACE) -> bytes:
    """Reads the authority's certificate.

    Raises:
        Unreachable: The operator has not published it yet.
    """
    found = objects.get(cluster.CONFIG_MAPS, NAME, namespace)
    text = (found or {}).get("data", {}).get(_ENTRY, "")
    if not text:
        raise errors.Unreachable(f"the operator has not published ConfigMap {NAME} yet")
    return str(text).encode()
