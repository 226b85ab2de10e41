"""`mooring-operator` as a process outside a pod, which a test may kill and listen to."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_PATH = ":".join(str(_ROOT / name) for name in ("engine", "operator"))


class OperatorProcess:
    """The operator with a kubeconfig of its own service account."""

    def __init__(
        self,
        kubeconfig: Path,
        folder: Path,
        image: str = "mooring:test",
        prefix: Sequence[str] = (),
    ) -> None:
        """Takes a command prefix, for a run in other namespaces."""
        self._kubeconfig = kubeconfig
        self._folder = folder
        self._image = image
        self._prefix = prefix
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._folder),
            "PYTHONPATH": _PATH,
            "KUBECONFIG": str(self._kubeconfig),
            "MOORING_IMAGE": self._image,
            "MOORING_HEALTH_ADDRESS": "127.0.0.1:0",
            "MOORING_SIGNER_ADDRESS": "127.0.0.1:0",
        }
        command = [*self._prefix, sys.executable, "-m", "mooring_operator"]
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(command, env=environment, stderr=log, stdout=log)

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
        return self._log_file.read_text()

    @property
    def _log_file(self) -> Path:
        return self._folder / "operator.log"
