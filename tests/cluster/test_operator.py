"""The operator's process against a real API server, with the rights of its own service account.

There is no node here: what needs a kubelet is tested on the development cluster.
"""

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mooring_dev import toolchain
from support.api_server import ApiServer
from support.operator_process import OperatorProcess

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).resolve().parents[2]
_WAIT_SECONDS = 40.0


@pytest.fixture(scope="session")
def installed(control_plane: ApiServer) -> ApiServer:
    """The control plane with everything of deploy/manifests applied."""
    crds = [path.read_text() for path in toolchain.snapshot_crds()]
    control_plane.must("apply", "--server-side", "-f", "-", stdin="\n---\n".join(crds))
    wait_for(lambda: _apply(control_plane))
    return control_plane


def _apply(server: ApiServer) -> bool:
    return (
        server.run("apply", "--server-side", "-k", str(ROOT / "deploy/manifests")).returncode == 0
    )


def _operator(server: ApiServer, folder: Path) -> OperatorProcess:
    return OperatorProcess(server.as_service_account("mooring-operator"), folder)


@pytest.fixture
def operator(installed: ApiServer, tmp_path: Path) -> Iterator[OperatorProcess]:
    process = _operator(installed, tmp_path)
    process.start()
    yield process
    process.stop()


def wait_for(seen: Callable[[], object], seconds: float = _WAIT_SECONDS) -> None:
    end = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.2)


def get(server: ApiServer, *what: str) -> dict[str, Any]:
    done = server.run("get", *what, "-o", "json")
    found = json.loads(done.stdout) if done.returncode == 0 else {}
    assert isinstance(found, dict)
    return found


def reason(server: ApiServer, *what: str, condition: str = "Ready") -> str:
    for entry in get(server, *what).get("status", {}).get("conditions", []):
        if entry["type"] == condition:
            return str(entry["reason"])
    return ""


def claim(name: str, **spec: Any) -> str:
    return json.dumps(
        {
            "apiVersion": "mooring.dev/v1alpha1",
            "kind": "VolumeClaim",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"size": "1Gi", **spec},
        }
    )


def test_a_volume_claim_makes_its_claim_and_outlives_kills(
    installed: ApiServer, operator: OperatorProcess
) -> None:
    installed.must("create", "-f", "-", stdin=claim("first"))
    wait_for(lambda: reason(installed, "vcl", "first") == "WaitingForFirstPod")
    assert get(installed, "pvc", "first")["spec"]["storageClassName"] == "mooring"
    assert "forbidden" not in operator.log()
    operator.send(signal.SIGKILL)
    installed.must("create", "-f", "-", stdin=claim("second"))
    installed.must("delete", "vcl", "first", "--wait=false")
    operator.start()
    wait_for(lambda: reason(installed, "vcl", "second") == "WaitingForFirstPod")
    wait_for(lambda: not get(installed, "vcl", "first"))
    assert get(installed, "pvc", "first"), "deleting a claim keeps its data"
    assert operator.send(signal.SIGTERM) == 0


def test_a_policy_of_delete_deletes(installed: ApiServer, operator: OperatorProcess) -> None:
    installed.must("create", "-f", "-", stdin=claim("gone", deletionPolicy="Delete"))
    wait_for(lambda: get(installed, "pvc", "gone"))
    installed.must("delete", "vcl", "gone", "--timeout=30s")
    assert not get(installed, "pvc", "gone")


def test_two_operators_one_acts(
    installed: ApiServer, operator: OperatorProcess, tmp_path: Path
) -> None:
    wait_for(lambda: "active" in operator.log())
    (tmp_path / "other").mkdir()
    other = _operator(installed, tmp_path / "other")
    other.start()
    try:
        installed.must("create", "-f", "-", stdin=claim("single"))
        wait_for(lambda: reason(installed, "vcl", "single") == "WaitingForFirstPod")
        assert '"event": "active"' not in other.log()
        operator.send(signal.SIGTERM)
        wait_for(lambda: '"event": "active"' in other.log())
    finally:
        other.stop()


def test_a_repository_in_etc_is_refused_by_event(
    installed: ApiServer, operator: OperatorProcess
) -> None:
    body = {
        "apiVersion": "mooring.dev/v1alpha1",
        "kind": "BackupRepository",
        "metadata": {"name": "sly", "namespace": "default"},
        "spec": {"directory": {"folder": "etc"}, "encryption": {"keySecretName": "key"}},
    }
    installed.must("create", "-f", "-", stdin=json.dumps(body))
    wait_for(lambda: reason(installed, "bkr", "sly") == "FolderNotAllowed")
    events = get(installed, "events")["items"]
    assert [e["type"] for e in events if e["reason"] == "FolderNotAllowed"] == ["Warning"]
    assert "forbidden" not in operator.log()


def test_a_repository_starts_a_probe_that_the_restricted_profile_takes(
    installed: ApiServer, operator: OperatorProcess
) -> None:
    label = "pod-security.kubernetes.io/enforce=restricted"
    installed.must("create", "namespace", "tenant")
    installed.must("label", "namespace", "tenant", label)
    body = {
        "apiVersion": "mooring.dev/v1alpha1",
        "kind": "BackupRepository",
        "metadata": {"name": "main", "namespace": "tenant"},
        "spec": {"directory": {"folder": "backups"}, "encryption": {"keySecretName": "key"}},
    }
    installed.must("create", "-f", "-", stdin=json.dumps(body))
    wait_for(lambda: get(installed, "pods", "-n", "tenant").get("items"))
    assert "forbidden" not in operator.log()
    installed.must("delete", "bkr", "main", "-n", "tenant", "--timeout=30s")
    assert not get(installed, "jobs", "-n", "tenant")["items"]
    assert not get(installed, "pvc", "-n", "tenant")["items"]
    volumes = get(installed, "pv")["items"]
    assert not [v for v in volumes if v["spec"]["csi"]["volumeHandle"].startswith("folder/")]
