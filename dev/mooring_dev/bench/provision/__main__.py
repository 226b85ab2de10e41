"""`python -m mooring_dev.bench.provision`: a fresh cluster with both, timed, and put away."""

import sys
import time
from collections.abc import Mapping, Sequence

from rich.console import Console

from mooring_dev import prerequisites
from mooring_dev.bench import figures
from mooring_dev.bench.provision import calls, create_volume, peer, pods, timeline, watching
from mooring_dev.cluster import lifecycle
from mooring_dev.demo import installing
from mooring_dev.kubectl import Kubectl, KubectlError, WaitError
from mooring_dev.steps import DevError

ROUNDS = 9
UNMEASURED_ROUNDS = 1
PEER_TARGET = 0.6
GOLDEN_RATIO = (5**0.5 - 1) / 2
"""Its multiples spread evenly over each second.

The kubelet looks at its containers once a second. What is applied right after the pod before it was
gone always meets that look at the same place, which can be a whole second's luck.
"""

Runs = Mapping[pods.Subject, Sequence[pods.Run]]


def main() -> int:
    """Measures, prints, and writes the reference page."""
    console = Console(highlight=False)
    try:
        prerequisites.check_machine()
        growth = create_volume.measure(console)
        figures.show("CreateVolume through the CSI socket", growth, console)
        figures.record(
            "create-volume",
            f"`make bench-provision`: CreateVolume with {create_volume.MANY:,} volumes in the "
            f"pool, against CreateVolume with {create_volume.FEW}.",
            growth,
        )
        runs, seen = _in_a_cluster(console)
        _report(console, runs, seen)
    except (DevError, KubectlError, WaitError) as error:
        console.print(f"[bold red]The benchmark failed:[/] {error}")
        return 1
    return 0


def _in_a_cluster(console: Console) -> tuple[Runs, Sequence[calls.Call]]:
    try:
        lifecycle.up()
        cluster = lifecycle.kubectl_of(lifecycle.current())
        installing.install(cluster)
        peer.install(cluster)
        cluster.run("create", "namespace", pods.NAMESPACE)
        return _rounds(console, cluster), calls.logged(cluster)
    finally:
        lifecycle.down()


def _rounds(console: Console, cluster: Kubectl) -> Runs:
    """Times one pod of each subject in turn, round by round."""
    runs: dict[pods.Subject, list[pods.Run]] = {subject: [] for subject in pods.SUBJECTS}
    with watching.watching(cluster, pods.NAMESPACE) as watch:
        for number in range(UNMEASURED_ROUNDS + ROUNDS):
            done = {}
            for each in pods.SUBJECTS:
                time.sleep(number * GOLDEN_RATIO % 1)
                done[each] = pods.run(cluster, watch, each, number)
            taken = ", ".join(f"{each.name} {one.seconds:.2f} s" for each, one in done.items())
            if number < UNMEASURED_ROUNDS:
                console.print(f"  not counted: {taken}")
                continue
            console.print(f"  round {number - UNMEASURED_ROUNDS + 1} of {ROUNDS}: {taken}")
            for subject, one in done.items():
                runs[subject].append(one)
    return runs


def _report(console: Console, runs: Runs, seen: Sequence[calls.Call]) -> None:
    ratios = _ratios(runs)
    steps = figures.Table(
        ("step, seconds (median)", *(subject.name for subject in pods.SUBJECTS)),
        _step_rows(runs, seen),
    )
    figures.show("from kubectl apply to Ready", ratios, console)
    figures.show_table("the same, step by step", steps, console)
    figures.record(
        "provision",
        "`make bench-provision`: a pod with a claim, from `kubectl apply` to Ready, against the "
        f"same pod with a claim of local-path-provisioner {peer.version()}, and with an emptyDir.",
        ratios,
        steps,
    )


def _ratios(runs: Runs) -> list[figures.Ratio]:
    seconds = {subject: [one.seconds for one in done] for subject, done in runs.items()}
    mine = seconds[pods.MOORING]
    against = "pod with a claim / "
    return [
        figures.at_most(
            figures.Ratio(f"{against}with a local-path claim", mine, seconds[pods.PEER], "s"),
            PEER_TARGET,
        ),
        figures.Ratio(f"{against}with an emptyDir", mine, seconds[pods.EMPTY_DIR], "s"),
    ]


def _step_rows(runs: Runs, seen: Sequence[calls.Call]) -> list[tuple[str, ...]]:
    columns = []
    for subject in pods.SUBJECTS:
        steps = [
            timeline.steps_of(
                one.start_seconds, {**one.marks, **calls.marks_of(seen, one.claim_uid)}
            )
            for one in runs[subject]
        ]
        columns.append(timeline.medians(steps))
    return [
        (mark.value, *(f"{column[mark]:.2f}" if mark in column else "" for column in columns))
        for mark in timeline.Mark
    ]


if __name__ == "__main__":
    sys.exit(main())
