"""`python -m mooring_dev.demo.disaster`: a cluster is lost with its disks; its data is not.

What survives is what would in earnest: the store, as if it were an NFS server elsewhere, and a
recovery key's file that was never in the cluster.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from mooring_dev import kubectl, prerequisites
from mooring_dev.cluster import lifecycle
from mooring_dev.demo import disaster_kit, installing, story
from mooring_dev.demo.database import Database
from mooring_dev.demo.stage import NAMESPACE, Stage, StoryError
from mooring_dev.kubectl import KubectlError, WaitError
from mooring_dev.steps import DevError


def main() -> int:
    """Tells the story; returns 0 only if every step was checked and true."""
    parser = argparse.ArgumentParser(prog="demo-dr", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the cluster running")
    chosen = parser.parse_args()
    console = Console(highlight=False)
    # Beside the cluster's own folder, so that the store is moved and not copied.
    state = lifecycle.current().folder.parent
    state.mkdir(parents=True, exist_ok=True)
    elsewhere = Path(tempfile.mkdtemp(prefix="elsewhere-", dir=state))
    try:
        _tell(console, elsewhere)
    except (StoryError, DevError, KubectlError, WaitError) as error:
        console.print(f"\n[bold red]The demo failed:[/] {error}", markup=True)
        return 1
    finally:
        if not chosen.keep:
            lifecycle.down()
        shutil.rmtree(elsewhere)
    console.print("\n[bold green]Every step was checked and true.[/]")
    return 0


def _tell(console: Console, elsewhere: Path) -> None:
    prerequisites.check_machine()
    prerequisites.install_missing()
    recovery_file = elsewhere / "recovery.key"
    stage = _new_cluster(console)
    stage.chapter("A recovery key, made outside the cluster")
    public_key = disaster_kit.new_recovery_key(recovery_file)
    stage.check(recovery_file.stat().st_mode & 0o077 == 0, "only its owner reads the file")
    story.claim_and_database(stage)
    acknowledged = story.backup_while_it_writes(stage, public_key)
    repository = stage.get("backuprepository", "main") or {}
    slots = repository["status"]["recoverySlots"]
    stage.check(len(slots) == 1, f"the repository has the recovery slot {slots[0]}")
    lost_id = repository["status"]["repositoryId"]
    _lose(stage, elsewhere)
    stage = _new_cluster(console, started=stage.started)
    _bring_back_store(stage, elsewhere, recovery_file, lost_id)
    _recover(stage, acknowledged)


def _new_cluster(console: Console, started: float | None = None) -> Stage:
    lifecycle.up()
    cluster = lifecycle.kubectl_of(lifecycle.current())
    installing.install(cluster)
    nodes = [item["metadata"]["name"] for item in cluster.json("get", "nodes")["items"]]
    stage = Stage(cluster, console, nodes)
    if started is not None:
        stage.started = started
    return stage


def _lose(stage: Stage, elsewhere: Path) -> None:
    stage.chapter("The cluster is destroyed: control plane, nodes, their disks, every Secret")
    layout = lifecycle.current()
    layout.backups_folder.rename(elsewhere / "store")
    lifecycle.down()
    stage.check(not layout.folder.exists(), f"nothing of it is left in {layout.folder}")
    stage.check(
        sorted(path.name for path in elsewhere.iterdir()) == ["recovery.key", "store"],
        "what is left: the store, and the recovery key's file",
    )


def _bring_back_store(stage: Stage, elsewhere: Path, recovery_file: Path, lost_id: str) -> None:
    stage.chapter("A new, empty cluster is given the store, and a key of its own")
    layout = lifecycle.current()
    for path in (elsewhere / "store").iterdir():
        path.rename(layout.backups_folder / path.name)
    found = [stage.cluster.json("get", kind, "-A")["items"] for kind in ("volumeclaim", "backup")]
    stage.check(found == [[], []], "the new cluster knows no VolumeClaim and no Backup")
    folder = layout.backups_folder / NAMESPACE / "main"
    key_file = elsewhere / "new.key"
    disaster_kit.mooring(
        "repo", "keys", "add", "--repo", str(folder), "--key-file", str(recovery_file),
        "--new-key-file", str(key_file),
    )  # fmt: skip
    public_key = _public_key(recovery_file)
    stage.apply("1-namespace.yaml")
    stage.cluster.run(
        "create", "secret", "generic", "backup-key", "-n", NAMESPACE, f"--from-file=key={key_file}"
    )
    stage.apply("4-repository.yaml", RECOVERY_KEY=public_key)
    repository = stage.wait_condition("backuprepository", "main", "Ready", timeout_seconds=90)
    stage.check(
        repository["status"]["repositoryId"] == lost_id,
        f"the new key opens repository {lost_id} of the lost cluster",
    )


def _public_key(recovery_file: Path) -> str:
    lines = recovery_file.read_text().splitlines()
    return next(line.split()[-1] for line in lines if "public key:" in line)


def _recover(stage: Stage, acknowledged: int) -> None:
    stage.chapter("Its backups are shown as objects, and the claims are recovered")
    stage.wait_condition("backup", "pg-1", "Succeeded", timeout_seconds=60)
    _wait(stage, "the listing", lambda: _listed(stage))
    stage.show("get", "backuprepository,backup", "-n", NAMESPACE)
    backup = stage.get("backup", "pg-1") or {}
    stage.check(backup["status"]["imported"], "Backup pg-1 of the lost cluster is back, imported")
    words = ("recover", "-n", NAMESPACE, "--kubeconfig", str(stage.cluster.kubeconfig), "--now")
    plan = disaster_kit.mooring(*words)
    stage.check(
        [(row["claim"], row["action"]) for row in plan] == [("pg", "restore")]
        and stage.get("pvc", "pg") is None,
        "`mooring recover` shows its plan and changes nothing",
    )
    disaster_kit.mooring(*words, "--yes", "--timeout", "180")
    stage.show("get", "restore,volumeclaim,pvc", "-n", NAMESPACE)
    stage.wait_condition("volumeclaim", "pg", "Ready", timeout_seconds=60)
    stage.apply("3-postgres.yaml")
    stage.wait_pod("pg", timeout_seconds=120)
    database = Database(stage.cluster, "pg")
    last = database.last_row()
    stage.check(
        last >= acknowledged,
        f"PostgreSQL runs; its last row is {last}, row {acknowledged} was acknowledged before the "
        "backup",
    )
    stage.check(database.broken_rows() == 0, "every row follows from the one before")
    again = disaster_kit.mooring(*words, "--yes", "--timeout", "60")
    stage.check(again[0]["action"] == "continue", "the same command again changes nothing")


def _listed(stage: Stage) -> bool:
    repository = stage.get("backuprepository", "main") or {}
    return bool((repository.get("status", {}).get("listing") or {}).get("done"))


def _wait(stage: Stage, what: str, seen: Callable[[], object]) -> None:
    try:
        stage.cluster.wait_for(what, seen, timeout_seconds=60)
    except kubectl.WaitError as error:
        raise StoryError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
