"""An API server in memory: the port of the cluster, with the semantics that reconcilers rely on.

resourceVersions and conflicts, generation (spec changes only), the status subresource, finalizers
and deletion, merge patch, label selectors; and failures on demand, at the n-th call.
"""

import copy
import itertools
from collections.abc import Callable, Sequence

from mooring.domain import errors
from mooring.ports import cluster

_WITH_STATUS = {
    *("persistentvolumeclaims", "persistentvolumes", "jobs", "pods", "nodes"),
    *("volumesnapshots", "volumesnapshotcontents"),
}


class FakeCluster:
    """`ports.cluster.ClusterObjects` as a dictionary."""

    def __init__(self) -> None:
        self._stored: dict[tuple[str, str, str], cluster.Object] = {}
        self._numbers = itertools.count(1)
        self._logs: dict[tuple[str, str], str] = {}
        self.calls: list[str] = []
        self.now: Callable[[], str] = lambda: "2026-01-01T00:00:00Z"
        self.fail: Callable[[str], BaseException | None] = lambda call: None

    def get(
        self, resource: cluster.Resource, name: str, namespace: str = ""
    ) -> cluster.Object | None:
        self._called("get", resource, namespace, name)
        found = self._stored.get(_key(resource, namespace, name))
        return copy.deepcopy(found)

    def find(
        self, resource: cluster.Resource, namespace: str = "", *, label_selector: str = ""
    ) -> Sequence[cluster.Object]:
        self._called("find", resource, namespace, "")
        wanted = dict(term.split("=", 1) for term in label_selector.split(",") if term)
        return [
            copy.deepcopy(obj)
            for (plural, space, _), obj in sorted(self._stored.items())
            if plural == resource.plural
            and (not namespace or space == namespace)
            and wanted.items() <= obj["metadata"].get("labels", {}).items()
        ]

    def create(self, resource: cluster.Resource, body: cluster.Object) -> cluster.Object:
        metadata = body["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        self._called("create", resource, namespace, name)
        if resource.namespaced and not namespace:
            raise errors.InvalidInput(f"{resource.plural} {name} needs a namespace")
        key = _key(resource, namespace, name)
        if key in self._stored:
            raise errors.AlreadyExists(f"{resource.plural} {name!r} already exists")
        obj = copy.deepcopy(body)
        obj["apiVersion"], obj["kind"] = resource.api_version, resource.kind
        number = next(self._numbers)
        obj["metadata"] |= {
            "uid": f"00000000-0000-4000-8000-{number:012d}",
            "generation": 1,
            "creationTimestamp": obj["metadata"].get("creationTimestamp", self.now()),
        }
        self._store(key, obj)
        return copy.deepcopy(obj)

    def patch(
        self,
        resource: cluster.Resource,
        name: str,
        body: cluster.Object,
        namespace: str = "",
        *,
        status: bool = False,
    ) -> cluster.Object:
        self._called("patch", resource, namespace, name)
        key = _key(resource, namespace, name)
        present = self._stored.get(key)
        if present is None:
            raise errors.NotFound(f"{resource.plural} {name!r} not found")
        version = body.get("metadata", {}).get("resourceVersion")
        if version is not None and version != present["metadata"]["resourceVersion"]:
            raise errors.Busy(f"{resource.plural} {name!r} was changed")
        changed = _merged(present, body)
        has_subresource = resource.plural in _WITH_STATUS or "mooring.dev" in resource.api_version
        if status:
            changed = {**present, "status": changed.get("status", {})}
        elif has_subresource:
            changed = {**changed, "status": present.get("status", {})}
        return self._update(key, present, changed)

    def replace(self, resource: cluster.Resource, body: cluster.Object) -> cluster.Object:
        metadata = body["metadata"]
        self._called("replace", resource, metadata.get("namespace", ""), metadata["name"])
        key = _key(resource, metadata.get("namespace", ""), metadata["name"])
        present = self._stored.get(key)
        if present is None:
            raise errors.NotFound(f"{resource.plural} {metadata['name']!r} not found")
        if metadata.get("resourceVersion") != present["metadata"]["resourceVersion"]:
            raise errors.Busy(f"{resource.plural} {metadata['name']!r} was changed")
        return self._update(key, present, copy.deepcopy(body))

    def delete(
        self, resource: cluster.Resource, name: str, namespace: str = "", *, uid: str = ""
    ) -> None:
        self._called("delete", resource, namespace, name)
        key = _key(resource, namespace, name)
        present = self._stored.get(key)
        if present is None or (uid and present["metadata"]["uid"] != uid):
            return
        if present["metadata"].get("finalizers"):
            present["metadata"].setdefault("deletionTimestamp", "2026-01-01T00:00:00Z")
            self._store(key, present)
        else:
            del self._stored[key]

    def log_tail(self, pod: str, namespace: str, *, lines: int) -> str:
        text = self._logs.get((namespace, pod), "")
        return "\n".join(text.splitlines()[-lines:])

    # What a test does on behalf of users, controllers and kubelets.

    def set_log(self, pod: str, namespace: str, text: str) -> None:
        self._logs[(namespace, pod)] = text

    def names(self, resource: cluster.Resource) -> list[str]:
        return [name for plural, _, name in sorted(self._stored) if plural == resource.plural]

    def must_get(
        self, resource: cluster.Resource, name: str, namespace: str = ""
    ) -> cluster.Object:
        return copy.deepcopy(self._stored[_key(resource, namespace, name)])

    def set_status(
        self, resource: cluster.Resource, name: str, namespace: str, status: cluster.Object
    ) -> None:
        self.patch(resource, name, {"status": status}, namespace, status=True)

    def _called(self, verb: str, resource: cluster.Resource, namespace: str, name: str) -> None:
        call = f"{verb} {resource.plural} {namespace}/{name}"
        self.calls.append(call)
        error = self.fail(call)
        if error is not None:
            raise error

    def _update(
        self, key: tuple[str, str, str], present: cluster.Object, changed: cluster.Object
    ) -> cluster.Object:
        if changed.get("spec") != present.get("spec"):
            changed["metadata"]["generation"] = present["metadata"]["generation"] + 1
        if "deletionTimestamp" in changed["metadata"] and not changed["metadata"].get("finalizers"):
            del self._stored[key]
            return changed
        self._store(key, changed)
        return copy.deepcopy(changed)

    def _store(self, key: tuple[str, str, str], obj: cluster.Object) -> None:
        obj["metadata"]["resourceVersion"] = str(next(self._numbers))
        self._stored[key] = obj


def _key(resource: cluster.Resource, namespace: str, name: str) -> tuple[str, str, str]:
    return (resource.plural, namespace if resource.namespaced else "", name)


def _merged(base: cluster.Object, patch: cluster.Object) -> cluster.Object:
    result = copy.deepcopy(base)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            inner = result.get(name)
            result[name] = _merged(inner if isinstance(inner, dict) else {}, value)
        else:
            result[name] = copy.deepcopy(value)
    return result
