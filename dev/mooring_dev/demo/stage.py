"""Where the story is told: the screen, the manifests of the tutorial, and the checks."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from mooring_dev import kubectl

NAMESPACE = "shop"
TUTORIAL = Path(__file__).resolve().parents[3] / "docs" / "tutorials" / "first-volume"


class StoryError(RuntimeError):
    """A step of the story did not come out as it has to."""


@dataclass
class Stage:
    """The cluster and the screen, with how long each chapter took.

    Attributes:
        cluster: kubectl for the cluster.
        console: The screen.
        nodes: Names of the cluster's nodes.
    """

    cluster: kubectl.Kubectl
    console: Console
    nodes: list[str]
    started: float = field(default_factory=time.monotonic)

    def chapter(self, title: str) -> None:
        """Prints a heading with the time since the start."""
        self.console.print(f"\n[bold cyan]{time.monotonic() - self.started:5.1f} s  {title}[/]")

    def check(self, truth: object, saying: str) -> None:
        """Prints a checked fact.

        Raises:
            StoryError: It is not true.
        """
        if not truth:
            raise StoryError(f"NOT TRUE: {saying}")
        self.console.print(f"  [green]✔[/] {saying}")

    def show(self, *arguments: str) -> None:
        """Shows a `kubectl get` as a user would type it."""
        self.console.print(f"  [dim]$ kubectl {' '.join(arguments)}[/]")
        table = self.cluster.run(*arguments)
        self.console.print(
            "  " + table.rstrip().replace("\n", "\n  "), markup=False, soft_wrap=True
        )

    def apply(self, name: str, **replaced: str) -> None:
        """Applies a manifest of the tutorial, with words replaced."""
        manifest = (TUTORIAL / name).read_text()
        for word, value in replaced.items():
            manifest = manifest.replace(word.replace("_", "-"), value)
        self.console.print(f"  [dim]$ kubectl apply -f {name}[/]")
        self.cluster.apply(manifest)

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """Returns an object of the story's namespace, or None."""
        return self.cluster.find(kind, name, "-n", NAMESPACE)

    def wait_condition(
        self, kind: str, name: str, condition_type: str, *, timeout_seconds: float
    ) -> dict[str, Any]:
        """Waits until a condition of an object is True and returns the object.

        Raises:
            StoryError: It took too long; says what the cluster says of the object.
        """

        def reached() -> dict[str, Any] | None:
            found = self.get(kind, name)
            state = kubectl.condition(found, condition_type)
            return found if state.get("status") == "True" else None

        try:
            return self.cluster.wait_for(
                f"{kind}/{name} {condition_type}", reached, timeout_seconds=timeout_seconds
            )
        except kubectl.WaitError as error:
            raise StoryError(f"{error}\n{self._explain(kind, name)}") from error

    def wait_pod(self, name: str, *, timeout_seconds: float = 60) -> str:
        """Waits until a pod is Ready and returns its node."""
        pod = self.wait_condition("pod", name, "Ready", timeout_seconds=timeout_seconds)
        node: str = pod["spec"]["nodeName"]
        return node

    def delete(self, kind: str, name: str, *, timeout_seconds: float = 60) -> None:
        """Deletes an object and waits until it is gone."""
        self.console.print(f"  [dim]$ kubectl delete {kind} {name}[/]")
        self.cluster.run(
            "delete", kind, name, "-n", NAMESPACE, kubectl.bound(timeout_seconds),
            timeout_seconds=timeout_seconds + 10,
        )  # fmt: skip

    def _explain(self, kind: str, name: str) -> str:
        events = self.cluster.run(
            "get", "events", "-n", NAMESPACE, "--sort-by=.lastTimestamp",
            "-o", "custom-columns=KIND:.involvedObject.kind,NAME:.involvedObject.name,"
            "REASON:.reason,MESSAGE:.message",
        )  # fmt: skip
        return self.cluster.run("describe", kind, name, "-n", NAMESPACE)[-1500:] + events[-3000:]
