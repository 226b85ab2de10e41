"""The port of the Kubernetes API: objects as JSON, by kind, and little else.

Objects are plain dictionaries, so that builders are pure functions and a fake is a dictionary of
dictionaries. Any method may raise:

    Unreachable: The API server does not answer, or answered 429 or 5xx; retry.
    PermissionDenied: This service account may not, or a quota or admission refused it.
    InvalidInput: The API server refused the object (400, 422); its words are in the message.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Object = dict[str, Any]


@dataclass(frozen=True)
class Resource:
    """A kind's place in the API.

    Attributes:
        api_version: `v1` or `group/version`.
        kind: CamelCase singular.
        plural: Lower-case plural.
        namespaced: False for cluster-wide kinds.
    """

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True


NAMESPACES = Resource("v1", "Namespace", "namespaces", namespaced=False)
NODES = Resource("v1", "Node", "nodes", namespaced=False)
PODS = Resource("v1", "Pod", "pods")
CLAIMS = Resource("v1", "PersistentVolumeClaim", "persistentvolumeclaims")
PERSISTENT_VOLUMES = Resource("v1", "PersistentVolume", "persistentvolumes", namespaced=False)
SECRETS = Resource("v1", "Secret", "secrets")
CONFIG_MAPS = Resource("v1", "ConfigMap", "configmaps")
EVENTS = Resource("v1", "Event", "events")
JOBS = Resource("batch/v1", "Job", "jobs")
LEASES = Resource("coordination.k8s.io/v1", "Lease", "leases")
STORAGE_CLASSES = Resource("storage.k8s.io/v1", "StorageClass", "storageclasses", namespaced=False)
SNAPSHOT_GROUP = "snapshot.storage.k8s.io"
_SNAPSHOT_API = f"{SNAPSHOT_GROUP}/v1"
VOLUME_SNAPSHOTS = Resource(_SNAPSHOT_API, "VolumeSnapshot", "volumesnapshots")
VOLUME_SNAPSHOT_CONTENTS = Resource(
    _SNAPSHOT_API, "VolumeSnapshotContent", "volumesnapshotcontents", namespaced=False
)
VOLUME_SNAPSHOT_CLASSES = Resource(
    _SNAPSHOT_API, "VolumeSnapshotClass", "volumesnapshotclasses", namespaced=False
)
KINDS = Resource(
    "apiextensions.k8s.io/v1",
    "CustomResourceDefinition",
    "customresourcedefinitions",
    namespaced=False,
)
TOKEN_REVIEWS = Resource(
    "authentication.k8s.io/v1", "TokenReview", "tokenreviews", namespaced=False
)


class ClusterObjects(Protocol):
    """Objects of one cluster. For cluster-wide kinds `namespace` is empty."""

    def get(self, resource: Resource, name: str, namespace: str = "") -> Object | None:
        """Returns an object as it is now, or None."""

    def find(
        self, resource: Resource, namespace: str = "", *, label_selector: str = ""
    ) -> Sequence[Object]:
        """Returns all objects, of one namespace or of all, by namespace and name."""

    def create(self, resource: Resource, body: Object) -> Object:
        """Makes an object.

        Raises:
            AlreadyExists: There is one of that name.
            NotFound: Its namespace is gone.
        """

    def patch(
        self,
        resource: Resource,
        name: str,
        body: Object,
        namespace: str = "",
        *,
        status: bool = False,
    ) -> Object:
        """Merges a change into an object (JSON merge patch), or into its status.

        A `metadata.resourceVersion` in the patch makes it conditional.

        Raises:
            NotFound: There is no such object.
            Busy: The condition did not hold; read again.
        """

    def replace(self, resource: Resource, body: Object) -> Object:
        """Puts a whole object in place of the one that had its resourceVersion.

        Raises:
            NotFound: There is no such object.
            Busy: It changed since; read again.
        """

    def delete(self, resource: Resource, name: str, namespace: str = "", *, uid: str = "") -> None:
        """Asks for an object's deletion, in the background; an absent one is no error.

        With a uid only that very object is deleted; another one of its name is left alone.
        """

    def log_tail(self, pod: str, namespace: str, *, lines: int) -> str:
        """Returns the end of a pod's log; empty while there is none."""
