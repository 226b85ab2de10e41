"""The operator's process against a real API server, with the rights of its own service account.

There is no node here: what needs a kubelet is tested on the development cluster.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mooring_dev import toolchain
from support.api_server import ApiServer

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).resolve().parents[2]
_PATH = ":".join(str(ROOT / name) for name in ("engine", "operator"))
_WAIT_SECONDS = 40.0


class OperatorProcess:
    """`mooring-operator` as a process, which a test may kill."""

    def __init__(self, server: ApiServer, folder: Path) -> None:
        self._server = server
        self._log = folder / "operator.log"
        self._kubeconfig = server.as_service_account("mooring-operator")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._log.parent),
            "PYTHONPATH": _PATH,
            "KUBECONFIG": str(self._kubeconfig),
            "MOORING_IMAGE": "mooring:test",
            "MOORING_HEALTH_ADDRESS": "127.0.0.1:0",
            "MOORING_SIGNER_ADDRESS": "127.0.0.1:0",
        }
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mooring_operator"], env=environment, stderr=log, stdout=log
            )

    def send(self, number: int) -> int | None:
        assert self._process is not None
        self._process.send_signal(number)
        if number in (signal.SIGSTOP, signal.SIGCONT):
            return None
        return self._process.wait(timeout=30)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()  # gives the Lease back, so that the next need not wait
            try:
                self._process.wait(timeout=30)
            finally:
                self._process.kill()

    def log(self) -> str:
        return self._log.read_text()


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


@pytest.fixture
def operator(installed: ApiServer, tmp_path: Path) -> Iterator[OperatorProcess]:
    process = OperatorProcess(installed, tmp_path)
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
    other = OperatorProcess(installed, tmp_path / "other")
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
