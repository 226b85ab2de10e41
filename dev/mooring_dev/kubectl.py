"""kubectl against one cluster: what the demo and the cluster tests speak to Kubernetes with."""

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from mooring_dev.steps import patient

Seen = TypeVar("Seen")


class KubectlError(RuntimeError):
    """kubectl said no; the message is what it printed."""


class WaitError(RuntimeError):
    """Something did not come true in its time; the message says what was seen last."""


@dataclass(frozen=True)
class Kubectl:
    """A kubectl binary and the cluster that it talks to.

    Attributes:
        binary: The kubectl of the cluster's version.
        kubeconfig: The cluster's administrator kubeconfig.
    """

    binary: Path
    kubeconfig: Path

    def run(self, *arguments: str, stdin: str | None = None, timeout_seconds: float = 60) -> str:
        """Runs kubectl and returns what it printed.

        Raises:
            KubectlError: It exited with an error or took longer than `timeout_seconds`.
        """
        command = [str(self.binary), f"--kubeconfig={self.kubeconfig}", *arguments]
        try:
            done = subprocess.run(
                command,
                input=stdin,
                capture_output=True,
                text=True,
                timeout=patient(timeout_seconds),
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise KubectlError(f"kubectl {' '.join(arguments)}: no answer in time") from error
        if done.returncode != 0:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def json(self, *arguments: str) -> dict[str, Any]:
        """Runs kubectl with `-o json` and returns the object."""
        value: dict[str, Any] = json.loads(self.run(*arguments, "-o", "json"))
        return value

    def find(self, *arguments: str) -> dict[str, Any] | None:
        """Returns one object, or None when there is none of that name."""
        printed = self.run("get", *arguments, "--ignore-not-found", "-o", "json")
        value: dict[str, Any] | None = json.loads(printed) if printed.strip() else None
        return value

    def apply(self, manifest: str) -> None:
        """Applies one manifest text."""
        self.run("apply", "-f", "-", stdin=manifest)

    def wait_rolled_out(
        self, workload: str, namespace: str, *, timeout_seconds: float = 90
    ) -> None:
        """Waits until every pod of a workload, such as `deployment/web`, is up to date and ready.

        Raises:
            KubectlError: They were not within `timeout_seconds`.
        """
        self.run(
            *("rollout", "status", workload, "-n", namespace, bound(timeout_seconds)),
            timeout_seconds=timeout_seconds + 10,
        )

    def wait_for(
        self, what: str, seen: Callable[[], Seen | None], *, timeout_seconds: float
    ) -> Seen:
        """Calls `seen` until it returns something true.

        Raises:
            WaitError: It did not within `timeout_seconds`.
        """
        bound_seconds = patient(timeout_seconds)
        end = time.monotonic() + bound_seconds
        last: object = None
        while time.monotonic() < end:
            try:
                value = seen()
            except KubectlError as error:
                last = error
            else:
                if value:
                    return value
                last = value
            time.sleep(0.3)
        raise WaitError(f"{what}: not within {bound_seconds:.0f} s; last seen: {last}")


def bound(timeout_seconds: float) -> str:
    """Returns the option that bounds kubectl's own waiting."""
    return f"--timeout={patient(timeout_seconds):.0f}s"


def condition(found: dict[str, Any] | None, kind: str) -> dict[str, Any]:
    """Returns one condition of an object, or an empty one."""
    conditions = ((found or {}).get("status") or {}).get("conditions") or []
    return next((entry for entry in conditions if entry["type"] == kind), {})
