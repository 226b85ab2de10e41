"""What a mover gets to see of a repository: its key, and a folder or a bucket. Pure."""

from dataclasses import dataclass
from typing import Any

from mooring.api import keys
from mooring.ports import cluster

_CA_BUNDLE_ENTRY = keys.CA_BUNDLE_PATH.rsplit("/", 1)[1]
_READABLE_BY_GROUP = 0o440


@dataclass(frozen=True)
class RepositoryMount:
    """A repository, in a claim or in a bucket.

    Attributes:
        key_secret: The Secret with its key.
        claim: The claim that holds it; None for a bucket.
        url: The bucket; None for a claim. See `store_locations`.
        credentials_secret: The Secret with the bucket's credentials.
        repository_id: Its id once it is known: another one that appears in its place is refused.
        ca_bundle: Certificates (PEM) to trust when speaking to the bucket's server.
    """

    key_secret: str
    claim: str | None = None
    url: str | None = None
    credentials_secret: str | None = None
    ca_bundle: str | None = None
    repository_id: str | None = None

    def spec(self) -> dict[str, Any]:
        """Returns what the mover's document says of it; no secret."""
        common = {"keyFile": keys.KEY_PATH, "repositoryId": self.repository_id}
        if self.url is None:
            return {"type": "directory", "path": keys.REPOSITORY_PATH, **common}
        return {
            **common,
            "type": "bucket",
            "url": self.url,
            "credentials": keys.CREDENTIALS_PATH,
            "caBundle": keys.CA_BUNDLE_PATH if self.ca_bundle is not None else None,
        }

    def files(self) -> dict[str, str]:
        """Returns what lies beside the mover's document."""
        return {} if self.ca_bundle is None else {_CA_BUNDLE_ENTRY: self.ca_bundle}

    def volumes(self) -> list[cluster.Object]:
        """Returns the pod's volumes."""
        entry = keys.KEY_SECRET_ENTRY
        key = {"secretName": self.key_secret, "items": [{"key": entry, "path": entry}]}
        volumes: list[cluster.Object] = [
            {"name": "key", "secret": {**key, "defaultMode": _READABLE_BY_GROUP}}
        ]
        if self.claim is not None:
            claim = {"claimName": self.claim}
            volumes.append({"name": "repository", "persistentVolumeClaim": claim})
        if self.credentials_secret is not None:
            # Whole, not by its entries: so the kubelet exchanges them while the mover runs.
            secret = {"secretName": self.credentials_secret, "defaultMode": _READABLE_BY_GROUP}
            volumes.append({"name": "credentials", "secret": secret})
        return volumes

    def mounts(self) -> list[cluster.Object]:
        """Returns where the container sees them."""
        key_folder = keys.KEY_PATH.rsplit("/", 1)[0]
        mounts: list[cluster.Object] = [{"name": "key", "mountPath": key_folder, "readOnly": True}]
        if self.claim is not None:
            mounts.append({"name": "repository", "mountPath": keys.REPOSITORY_PATH})
        if self.credentials_secret is not None:
            path = keys.CREDENTIALS_PATH
            mounts.append({"name": "credentials", "mountPath": path, "readOnly": True})
        return mounts
