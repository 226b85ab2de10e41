"""The port of the Kubernetes API, by the official client.

Only its transport is used: authentication, TLS, connection pool. Paths and JSON are built here,
because objects of Mooring's own kinds have no classes there, and one way for all kinds is less
code than two. Every call has a timeout, and every failure becomes an error of the one tree.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import urllib3
from kubernetes import client as kubernetes_client
from kubernetes import config as kubernetes_config
from kubernetes.client import exceptions as kubernetes_errors

from mooring.domain import errors
from mooring.ports import cluster

_MERGE_PATCH = "application/merge-patch+json"
_CONNECT_TIMEOUT_SECONDS = 5.0
_READ_TIMEOUT_SECONDS = 30.0
_PAGE_SIZE = 500
_POOL_SIZE = 32
_SHOWN_BYTES = 200

HTTP_BAD_REQUEST = 400
HTTP_UNAUTHORIZED = 401
HTTP_FORBIDDEN = 403
HTTP_NOT_FOUND = 404
HTTP_CONFLICT = 409
HTTP_GONE = 410
HTTP_UNPROCESSABLE = 422
HTTP_TOO_MANY = 429
HTTP_SERVER_ERROR = 500


def connect(kubeconfig: str | None = None, context: str | None = None) -> "KubernetesObjects":
    """Connects with a pod's service account, or with a kubeconfig where there is none.

    Raises:
        PreconditionFailed: There is neither.
    """
    configuration = kubernetes_client.Configuration()
    try:
        if kubeconfig is None:
            try:
                kubernetes_config.load_incluster_config(  # type: ignore[no-untyped-call]
                    client_configuration=configuration
                )
            except kubernetes_config.ConfigException:
                kubernetes_config.load_kube_config(  # type: ignore[no-untyped-call]
                    context=context, client_configuration=configuration
                )
        else:
            kubernetes_config.load_kube_config(  # type: ignore[no-untyped-call]
                kubeconfig, context=context, client_configuration=configuration
            )
    except kubernetes_config.ConfigException as error:
        raise errors.PreconditionFailed(
            f"no cluster to talk to: {error}; run in a pod or set KUBECONFIG"
        ) from error
    configuration.connection_pool_maxsize = _POOL_SIZE
    configuration.retries = urllib3.Retry(total=1, redirect=0, status=0)
    return KubernetesObjects(kubernetes_client.ApiClient(configuration))


class KubernetesObjects:
    """`ports.cluster.ClusterObjects` over HTTP; safe to use from several threads."""

    def __init__(self, api: kubernetes_client.ApiClient) -> None:
        self._api = api

    def get(
        self, resource: cluster.Resource, name: str, namespace: str = ""
    ) -> cluster.Object | None:
        """Returns an object as it is now, or None."""
        try:
            return self._json("GET", _path(resource, namespace, name))
        except errors.NotFound:
            return None

    def find(
        self, resource: cluster.Resource, namespace: str = "", *, label_selector: str = ""
    ) -> Sequence[cluster.Object]:
        """Returns all objects, read in pages; a page that expired starts the list again."""
        for _ in range(3):
            try:
                return self._all_pages(resource, namespace, label_selector)
            except _Expired:
                continue
        raise errors.Unreachable(f"the list of {resource.plural} expired while it was read")

    def _all_pages(
        self, resource: cluster.Resource, namespace: str, label_selector: str
    ) -> Sequence[cluster.Object]:
        query = {"limit": str(_PAGE_SIZE)}
        if label_selector:
            query["labelSelector"] = label_selector
        found: list[cluster.Object] = []
        while True:
            page = self._json("GET", _path(resource, namespace), query=query)
            for item in page.get("items", []):
                found.append({"apiVersion": resource.api_version, "kind": resource.kind, **item})
            token = page.get("metadata", {}).get("continue")
            if not token:
                return found
            query["continue"] = token

    def create(self, resource: cluster.Resource, body: cluster.Object) -> cluster.Object:
        """Makes an object."""
        namespace = body.get("metadata", {}).get("namespace", "")
        return self._json("POST", _path(resource, namespace), body=_typed(resource, body))

    def patch(
        self,
        resource: cluster.Resource,
        name: str,
        body: cluster.Object,
        namespace: str = "",
        *,
        status: bool = False,
    ) -> cluster.Object:
        """Merges a change into an object or its status."""
        path = _path(resource, namespace, name) + ("/status" if status else "")
        return self._json("PATCH", path, body=body, content_type=_MERGE_PATCH)

    def replace(self, resource: cluster.Resource, body: cluster.Object) -> cluster.Object:
        """Puts a whole object in place of the one that had its resourceVersion."""
        metadata = body["metadata"]
        path = _path(resource, metadata.get("namespace", ""), metadata["name"])
        return self._json("PUT", path, body=_typed(resource, body))

    def delete(
        self, resource: cluster.Resource, name: str, namespace: str = "", *, uid: str = ""
    ) -> None:
        """Asks for an object's deletion; a uid that is not its own leaves it alone."""
        body: cluster.Object = {"propagationPolicy": "Background"}
        if uid:
            body["preconditions"] = {"uid": uid}
        try:
            self._json("DELETE", _path(resource, namespace, name), body=body)
        except errors.NotFound:
            return
        except errors.Busy:
            if not uid:
                raise

    def log_tail(self, pod: str, namespace: str, *, lines: int) -> str:
        """Returns the end of a pod's log; empty while there is none."""
        path = _path(cluster.PODS, namespace, pod) + "/log"
        try:
            data = self._call("GET", path, query={"tailLines": str(lines)})
        except (errors.NotFound, errors.InvalidInput):
            return ""  # the container has not started yet, or its log is gone with it
        return data.decode(errors="replace")

    def _json(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: cluster.Object | None = None,
        content_type: str = "application/json",
    ) -> cluster.Object:
        data = self._call(method, path, query=query, body=body, content_type=content_type)
        return _object_of(data, f"{method} {path}")

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: cluster.Object | None = None,
        content_type: str = "application/json",
    ) -> bytes:
        headers: dict[str, Any] = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = content_type
        self._add_token(headers, path, method, body)
        url = self._api.configuration.host + path + (f"?{urlencode(query)}" if query else "")
        try:
            response = self._api.call_api(
                method,
                url,
                header_params=headers,
                body=body,
                _request_timeout=(_CONNECT_TIMEOUT_SECONDS, _READ_TIMEOUT_SECONDS),
            )
            data: bytes = response.read() or b""  # type: ignore[no-untyped-call]
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise errors.Unreachable(f"the API server does not answer: {error}") from error
        except kubernetes_errors.OpenApiException as error:
            raise errors.Unreachable(f"the API server cannot be asked: {error}") from error
        if response.status >= HTTP_BAD_REQUEST:
            raise error_of(response.status, data, f"{method} {path}")
        return data

    def _add_token(
        self, headers: dict[str, Any], path: str, method: str, body: cluster.Object | None
    ) -> None:
        """Adds the token; the client asks its hook for a fresh one, as projected tokens expire."""
        try:
            self._api.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        except (kubernetes_config.ConfigException, OSError, ValueError) as error:
            raise errors.Unreachable(
                f"the API server cannot be asked without a token: {error}"
            ) from error


def _object_of(data: bytes, call: str) -> cluster.Object:
    """Reads an answer; a proxy on the way, or a connection cut short, may have put in its own."""
    try:
        found: Any = json.loads(data)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        shown = data[:_SHOWN_BYTES].decode(errors="replace")
        raise errors.Unreachable(f"{call}: the answer is no JSON object: {shown!r}")
    return found


class _Expired(errors.Busy):
    """The list's page token or resource version is too old (410)."""


def error_of(status: int, data: bytes, call: str) -> errors.MooringError:
    """Turns an HTTP failure into an error of the one tree; the API server's words are kept."""
    reason, message = _status_words(data)
    text = f"{call}: {message or status}"
    if status == HTTP_NOT_FOUND:
        return errors.NotFound(text)
    if status == HTTP_CONFLICT:
        return errors.AlreadyExists(text) if reason == "AlreadyExists" else errors.Busy(text)
    if status == HTTP_GONE:
        return _Expired(text)
    if status in (HTTP_UNAUTHORIZED, HTTP_FORBIDDEN):
        return errors.PermissionDenied(message or text)
    if status == HTTP_TOO_MANY or status >= HTTP_SERVER_ERROR:
        return errors.Unreachable(text)
    return errors.InvalidInput(message or text)


def _status_words(data: bytes) -> tuple[str, str]:
    try:
        status = json.loads(data)
    except ValueError:
        return "", data[:_SHOWN_BYTES].decode(errors="replace")
    if not isinstance(status, dict):
        return "", ""
    return str(status.get("reason", "")), str(status.get("message", ""))


def _typed(resource: cluster.Resource, body: cluster.Object) -> cluster.Object:
    """Names the kind in a body whose maker left that to the resource."""
    return {"apiVersion": resource.api_version, "kind": resource.kind, **body}


def _path(resource: cluster.Resource, namespace: str, name: str = "") -> str:
    root = "/api/v1" if resource.api_version == "v1" else f"/apis/{resource.api_version}"
    if resource.namespaced and namespace:
        root += f"/namespaces/{quote(namespace, safe='')}"
    path = f"{root}/{resource.plural}"
    return f"{path}/{quote(name, safe='')}" if name else path
