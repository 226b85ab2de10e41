"""The story, chapter by chapter. Each chapter ends in checks; the first that fails ends it."""

import tempfile
from pathlib import Path

from mooring_dev import kubectl
from mooring_dev.demo import disaster_kit
from mooring_dev.demo.database import Database, new_repository_key
from mooring_dev.demo.stage import NAMESPACE, Stage, StoryError

FILLER = """
apiVersion: v1
kind: Pod
metadata: {name: %(name)s, namespace: default}
spec:
  nodeName: %(node)s
  terminationGracePeriodSeconds: 0
  containers:
    - name: pause
      image: registry.k8s.io/pause:3.10
      imagePullPolicy: IfNotPresent
      resources: {requests: {cpu: 600m, memory: 512Mi}}
"""


def tell(stage: Stage) -> None:
    """Tells the whole story.

    Raises:
        StoryError: A step did not come out as it has to.
    """
    stage.chapter("A real cluster with two nodes, and Mooring on it")
    stage.show("get", "nodes", "-o", "wide")
    stage.show("get", "pods", "-n", "mooring-system", "-o", "wide")
    stage.show("get", "storageclass")
    home = claim_and_database(stage)
    other = next(node for node in stage.nodes if node != home)
    pod_returns_to_its_data(stage, home, other)
    with tempfile.TemporaryDirectory() as folder:
        public_key = disaster_kit.new_recovery_key(Path(folder) / "recovery.key")
    acknowledged = backup_while_it_writes(stage, public_key)
    destroy(stage, home)
    restore_elsewhere(stage, other, acknowledged)


def claim_and_database(stage: Stage) -> str:
    """A VolumeClaim, and PostgreSQL writing through it; returns the data's node."""
    stage.chapter("A VolumeClaim, and PostgreSQL writing into it")
    stage.apply("1-namespace.yaml")
    stage.apply("2-claim.yaml")
    stage.apply("3-postgres.yaml")
    home = stage.wait_pod("pg", timeout_seconds=90)
    database = Database(stage.cluster, "pg")
    database.prepare()
    database.append(200)
    claim = stage.wait_condition("volumeclaim", "pg", "Ready", timeout_seconds=30)
    stage.show("get", "volumeclaim,pvc,pod", "-n", NAMESPACE, "-o", "wide")
    stage.show("get", "volumes.mooring.dev")
    stage.check(claim["status"]["node"] == home, f"the claim says its data is on {home}")
    stage.check(database.broken_rows() == 0, f"{database.last_row()} rows are written and whole")
    return home


def pod_returns_to_its_data(stage: Stage, home: str, other: str) -> None:
    """The pod is made anew while its node is the fuller one: it comes back to its data."""
    stage.chapter(f"The pod is made anew; {home} is now the fuller node")
    stage.delete("pod", "pg")
    stage.cluster.apply(FILLER % {"name": "filler", "node": home})
    stage.apply("control-pod.yaml")
    stage.apply("3-postgres.yaml")
    control = stage.wait_pod("control")
    node = stage.wait_pod("pg")
    stage.show("get", "pods", "-n", NAMESPACE, "-o", "wide")
    stage.check(control == other, f"the control pod without a volume went to the emptier {other}")
    stage.check(node == home, f"PostgreSQL came back to its data on {home}")
    database = Database(stage.cluster, "pg")
    stage.check(
        database.last_row() == 200 and database.broken_rows() == 0, "all 200 rows are there"
    )


def backup_while_it_writes(stage: Stage, recovery_key: str) -> int:
    """A Backup under writes; returns a row that was acknowledged before it began."""
    stage.chapter("A Backup while the database writes")
    secret = new_repository_key()
    stage.cluster.run(
        "create", "secret", "generic", "backup-key", "-n", NAMESPACE, f"--from-literal=key={secret}"
    )
    stage.apply("4-repository.yaml", RECOVERY_KEY=recovery_key)
    stage.wait_condition("backuprepository", "main", "Ready", timeout_seconds=60)
    database = Database(stage.cluster, "pg")
    writer = database.start_writer()
    try:
        before = stage.cluster.wait_for(
            "the writer", lambda: max(0, database.acknowledged() - 200), timeout_seconds=20
        )
        acknowledged = before + 200
        stage.apply("5-backup.yaml")
        backup = stage.wait_condition("backup", "pg-1", "Succeeded", timeout_seconds=120)
        after = database.acknowledged()
    finally:
        database.stop_writer(writer)
    stage.show("get", "backuprepository,backup", "-n", NAMESPACE)
    status = backup["status"]
    stage.check(
        after > acknowledged,
        f"the writer went on: row {acknowledged} before the backup, row {after} after it",
    )
    stage.check(
        status["consistency"] == "Filesystem",
        f"consistency: {status['consistency']}; "
        f"the snapshot took {status['snapshotMilliseconds']} ms",
    )
    return acknowledged


def destroy(stage: Stage, home: str) -> None:
    """The claim and the node's copy of the data are destroyed."""
    stage.chapter("The claim, and the copy of the data on its node, are destroyed")
    claim = stage.get("volumeclaim", "pg") or {}
    volume = claim["status"]["volumeId"]
    stage.delete("pod", "pg")
    stage.delete("volumeclaim", "pg")
    stage.cluster.wait_for(
        "the PVC is gone", lambda: stage.get("pvc", "pg") is None, timeout_seconds=60
    )
    stage.cluster.wait_for(
        "the volume is gone",
        lambda: stage.cluster.find("volumes.mooring.dev", volume) is None,
        timeout_seconds=60,
    )
    images = image_files(stage, home)
    stage.check(
        not [name for name in images if volume in name], f"no image of {volume} is left on {home}"
    )


def restore_elsewhere(stage: Stage, other: str, acknowledged: int) -> None:
    """The backup comes back on the other node, and the rows are counted."""
    stage.chapter(f"Restore on {other}")
    stage.cluster.run("delete", "pod", "filler", "-n", "default", "--wait=false")
    stage.apply("6-restore.yaml", OTHER_NODE=other)
    stage.apply("7-postgres-restored.yaml")
    stage.wait_condition("restore", "pg-back", "Succeeded", timeout_seconds=120)
    node = stage.wait_pod("pg-restored", timeout_seconds=90)
    stage.show("get", "restore,pvc,pod", "-n", NAMESPACE, "-o", "wide")
    stage.show("get", "volumes.mooring.dev")
    database = Database(stage.cluster, "pg-restored")
    last = database.last_row()
    stage.check(node == other, f"the restored database runs on {other}")
    stage.check(
        last >= acknowledged, f"its last row is {last}; row {acknowledged} was acknowledged before"
    )
    stage.check(database.broken_rows() == 0, "every row follows from the one before")


def image_files(stage: Stage, node: str) -> list[str]:
    """Lists the image files of a node's pools, as the node plugin's pod sees them."""
    pods = stage.cluster.json(
        "get", "pods", "-n", "mooring-system", "-l", "app.kubernetes.io/component=node",
        "--field-selector", f"spec.nodeName={node}",
    )  # fmt: skip
    if not pods["items"]:
        raise StoryError(f"no node plugin runs on {node}")
    name = pods["items"][0]["metadata"]["name"]
    listing = stage.cluster.run(
        "exec", "-n", "mooring-system", name, "-c", "node", "--",
        "find", "/var/lib/mooring", "-path", "*/images/*",
    )  # fmt: skip
    return listing.split()


def tidy(stage: Stage) -> None:
    """Removes what an earlier telling left, so that the story can be told again."""
    for kind in ("pods", "restores", "backups", "backuprepositories", "volumeclaims", "pvc"):
        try:
            stage.cluster.run(
                "delete", kind, "--all", "-n", NAMESPACE, kubectl.bound(60), timeout_seconds=90
            )
        except kubectl.KubectlError:
            continue  # the namespace or the kind is not there yet
    stage.cluster.run("delete", "pod", "filler", "-n", "default", "--ignore-not-found")
    stage.cluster.run("delete", "namespace", NAMESPACE, "--ignore-not-found", timeout_seconds=90)
