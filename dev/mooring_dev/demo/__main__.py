"""`python -m mooring_dev.demo`: a fresh cluster, Mooring on it, the story told, all put away."""

import argparse
import sys

from rich.console import Console

from mooring_dev import prerequisites
from mooring_dev.cluster import lifecycle
from mooring_dev.demo import installing, story
from mooring_dev.demo.stage import Stage, StoryError
from mooring_dev.kubectl import KubectlError, WaitError
from mooring_dev.steps import DevError


def main() -> int:
    """Tells the story; returns 0 only if every step was checked and true."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the cluster running")
    parser.add_argument("--reuse", action="store_true", help="use the cluster that runs")
    chosen = parser.parse_args()
    console = Console(highlight=False)
    try:
        _tell(console, reuse=chosen.reuse)
    except (StoryError, DevError, KubectlError, WaitError) as error:
        console.print(f"\n[bold red]The demo failed:[/] {error}", markup=True)
        return 1
    finally:
        if not chosen.keep and not chosen.reuse:
            lifecycle.down()
    console.print("\n[bold green]Every step was checked and true.[/]")
    return 0


def _tell(console: Console, *, reuse: bool) -> None:
    if not reuse:
        prerequisites.check_machine()
        prerequisites.install_missing()
        lifecycle.up()
    cluster = lifecycle.current()
    kubectl = lifecycle.kubectl_of(cluster)
    if not reuse:
        installing.install(kubectl)
    nodes = [item["metadata"]["name"] for item in kubectl.json("get", "nodes")["items"]]
    stage = Stage(kubectl, console, nodes)
    story.tidy(stage)
    story.tell(stage)


if __name__ == "__main__":
    sys.exit(main())
