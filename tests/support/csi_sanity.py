"""Runs csi-sanity against Mooring, and says what passed, what was skipped and why.

`python -m support.csi_sanity` runs the whole matrix and prints the report last. The program is
run unmodified, with every spec and its own idempotency repeat count (10).
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from mooring_dev import csi_processes

RUN_TIMEOUT_SECONDS = 240.0
VOLUME_SIZE_BYTES = 64 << 20
EXPANDED_SIZE_BYTES = 128 << 20
SPECS_THAT_RUN = 71


@dataclass(frozen=True)
class Case:
    """One cell of the matrix.

    Attributes:
        mode: `standalone`: one process; `agents`: controller and agent as two, over mutual TLS.
        backend: The pool's backend.
        access: `mount` or `block`.
    """

    mode: str
    backend: str
    access: str

    def __str__(self) -> str:
        return f"{self.mode}-{self.backend}-{self.access}"


MATRIX = tuple(
    Case(mode, backend, access)
    for mode in ("standalone", "agents")
    for backend in ("reflink", "directory")
    for access in ("mount", "block")
)


@dataclass(frozen=True)
class Spec:
    """One spec's outcome: `passed`, `failed`, `skipped` or `pending`."""

    name: str
    outcome: str
    reason: str = ""


@dataclass
class Report:
    """What one run of csi-sanity said."""

    case: Case
    specs: list[Spec] = field(default_factory=list)

    def named(self, outcome: str) -> list[Spec]:
        return [spec for spec in self.specs if spec.outcome == outcome]

    def ran(self) -> int:
        return len(self.named("passed")) + len(self.named("failed"))


def program() -> str:
    """Returns csi-sanity's path, building it when it is missing."""
    found = os.environ.get("MOORING_CSI_SANITY")
    if found:
        return found
    return subprocess.run(
        [sys.executable, "-m", "mooring_dev", "tool-path", "csi-sanity"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


def run(case: Case) -> Report:
    """Runs csi-sanity on one cell of the matrix, in a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="mooring-sanity-", dir="/var/tmp"))
    try:
        with csi_processes.served(case.mode, case.backend, folder) as sockets:
            return _run_program(case, folder, sockets)
    finally:
        shutil.rmtree(folder)


def _run_program(case: Case, folder: Path, sockets: csi_processes.Sockets) -> Report:
    junit = folder / "report.xml"
    done = subprocess.run(
        [
            program(),
            f"--csi.endpoint=unix://{sockets.node}",
            f"--csi.controllerendpoint=unix://{sockets.controller}",
            f"--csi.mountdir={folder}/mount",
            f"--csi.stagingdir={folder}/staging",
            f"--csi.testvolumesize={VOLUME_SIZE_BYTES}",
            f"--csi.testvolumeexpandsize={EXPANDED_SIZE_BYTES}",
            f"--csi.testvolumeaccesstype={case.access}",
            f"--csi.junitfile={junit}",
            "--ginkgo.no-color",
        ],
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_SECONDS,
        check=False,
    )
    assert junit.exists(), (
        f"csi-sanity wrote no report:\n{done.stdout[-4000:]}{done.stderr[-2000:]}"
    )
    return Report(case, list(_specs(junit)))


def _specs(junit: Path) -> Iterator[Spec]:
    for found in ElementTree.parse(junit).getroot().iter("testcase"):
        name = " ".join(found.get("name", "").removeprefix("[It] ").split())
        skipped = found.find("skipped")
        fault = found.find("failure") if found.find("error") is None else found.find("error")
        if fault is not None:
            yield Spec(name, "failed", " ".join((fault.get("message") or "").split()))
        elif skipped is not None:
            reason = (skipped.get("message") or "").removeprefix("skipped - ")
            yield Spec(name, "pending" if reason == "pending" else "skipped", reason)
        elif not name.startswith("["):  # not the suite's own set-up and report nodes
            yield Spec(name, "passed")


def show(reports: Sequence[Report]) -> str:
    """Writes the report: counts of every case, then each spec that did not pass, with why."""
    lines = ["", "csi-sanity: every spec, idempotency repeat count 10"]
    for report in reports:
        count = Counter(spec.outcome for spec in report.specs)
        lines.append(
            f"  {report.case!s:28} {count['passed']} passed, {count['failed']} failed, "
            f"{count['skipped']} skipped, {count['pending']} pending"
        )
    lines += _listed("skipped", [spec for one in reports for spec in one.named("skipped")])
    lines += _listed(
        "pending in csi-sanity itself", [spec for one in reports for spec in one.named("pending")]
    )
    lines += _listed("FAILED", [spec for one in reports for spec in one.named("failed")])
    return "\n".join(lines)


def _listed(title: str, specs: Sequence[Spec]) -> list[str]:
    found = sorted({f"  {spec.name}: {spec.reason}" for spec in specs})
    return ["", f"{title}:", *found] if found else []


def main() -> int:
    """Runs the matrix and prints the report; 1 if a spec failed."""
    reports = []
    for case in MATRIX:
        sys.stdout.write(f"csi-sanity {case} (about 12 s)\n")
        sys.stdout.flush()
        reports.append(run(case))
    sys.stdout.write(show(reports) + "\n")
    return 1 if any(report.named("failed") for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
