"""Names and marks of child objects, derived from the object that they are made for. Pure.

A name that is derived from the owner's uid makes every creation idempotent: a retry after a kill
meets its own object. Children carry no ownerReference, because deleting an object must never
delete data by cascade; the operator puts them away itself.
"""

from dataclasses import dataclass

from mooring.api import keys
from mooring.ports import cluster


@dataclass(frozen=True)
class Owner:
    """The object that a child is made for.

    Attributes:
        kind: Its kind.
        namespace: Its namespace.
        name: Its name.
        uid: Its uid.
    """

    kind: str
    namespace: str
    name: str
    uid: str

    def child_name(self, role: str) -> str:
        """Returns the name of the child of that role."""
        return f"mooring-{role}-{self.uid}"


def owner_of(obj: cluster.Object) -> Owner:
    """Returns an object as the owner of its children."""
    metadata = obj["metadata"]
    return Owner(obj["kind"], metadata.get("namespace", ""), metadata["name"], metadata["uid"])


def child_metadata(owner: Owner, role: str, *, namespaced: bool = True) -> cluster.Object:
    """Returns the metadata of a child: name, labels, and for people whose it is."""
    metadata: cluster.Object = {
        "name": owner.child_name(role),
        "labels": child_labels(owner, role),
        "annotations": {keys.OWNER: f"{owner.kind}/{owner.namespace}/{owner.name}"},
    }
    if namespaced:
        metadata["namespace"] = owner.namespace
    return metadata


def child_labels(owner: Owner, role: str) -> dict[str, str]:
    """Returns the labels of a child, by which it is found again."""
    return {
        keys.NAME: keys.NAME_VALUE,
        keys.MANAGED_BY: keys.MANAGED_BY_VALUE,
        keys.OWNER_UID: owner.uid,
        keys.ROLE: role,
    }
