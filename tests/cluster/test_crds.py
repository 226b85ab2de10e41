"""The CRDs on a real API server: accepted, and refusing what they have to refuse."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mooring.api import keys
from mooring.api.v1alpha1 import kinds
from support.api_server import ApiServer

pytestmark = pytest.mark.cluster
_numbers = itertools.count()

CLAIM = {"size": "10Gi"}
SCHEDULE = {"schedule": "0 3 * * *", "claims": {"all": True}, "repositoryName": "main"}
BACKUP = {"source": {"volumeClaimName": "data"}, "repositoryName": "main"}
REPOSITORY = {
    "directory": {"folder": "backups"},
    "encryption": {"keySecretName": "key", "recovery": "None"},
}
BUCKET = {"bucket": "company-backups", "prefix": "shop", "credentialsSecretName": "s3-login"}
IN_BUCKET = {"s3": BUCKET, "encryption": {"keySecretName": "key"}}
RESTORE = {"backupName": "one", "target": {"claimName": "data"}}
GOOD = {
    "VolumeClaim": CLAIM,
    "BackupSchedule": SCHEDULE,
    "Backup": BACKUP,
    "BackupRepository": REPOSITORY,
    "Restore": RESTORE,
    "Pool": {},
}


@pytest.fixture(scope="module", autouse=True)
def _put_away(control_plane: ApiServer) -> Iterator[None]:
    """Leaves the shared API server without objects that an operator under test would serve."""
    yield
    for kind in kinds.ALL:
        everywhere = ["-A"] if kind.namespaced else []
        control_plane.must("delete", f"{kind.plural}.{keys.GROUP}", "--all", *everywhere)


def document(kind: str, spec: Any, name: str | None = None) -> str:
    metadata: dict[str, Any] = {"name": name or f"test-{next(_numbers)}"}
    if kind not in ("Volume", "Pool"):
        metadata["namespace"] = "default"
    body = {"apiVersion": keys.API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
    return json.dumps(body)


def test_every_kind_is_established_structural_and_listed(
    control_plane: ApiServer, tmp_path: Path
) -> None:
    for kind in kinds.ALL:
        name = f"crd/{kind.plural}.{keys.GROUP}"
        found = json.loads(control_plane.must("get", name, "-o", "json"))
        conditions = {entry["type"]: entry for entry in found["status"]["conditions"]}
        assert conditions["Established"]["status"] == "True"
        assert "NonStructuralSchema" not in conditions
    fresh = f"--cache-dir={tmp_path}"  # kubectl remembers which kinds there are
    control_plane.must("get", keys.CATEGORY, "-A", fresh)
    for short in ("vcl", "vol", "bk", "bkr", "bks", "rst"):
        control_plane.must("get", short, "-A")


@pytest.mark.parametrize("kind", sorted(GOOD))
def test_good_objects_are_taken(control_plane: ApiServer, kind: str) -> None:
    control_plane.must("create", "-f", "-", stdin=document(kind, GOOD[kind]))


@pytest.mark.parametrize(
    ("kind", "spec", "words"),
    [
        ("VolumeClaim", {}, "size"),
        ("VolumeClaim", {"size": "0"}, "must not be 0"),
        ("VolumeClaim", {"size": "-1Gi"}, "spec.size"),
        ("VolumeClaim", {"size": "ten"}, "spec.size"),
        ("VolumeClaim", {"size": None}, "size"),
        ("VolumeClaim", {"size": "9" * 300}, "spec.size"),
        ("VolumeClaim", None, "spec"),
        ("VolumeClaim", [], "spec"),
        ("VolumeClaim", {"size": 10}, "spec.size"),
        ("VolumeClaim", {"size": {"Gi": 10}}, "spec.size"),
        ("VolumeClaim", {"size": "10Gi\n"}, "spec.size"),
        ("VolumeClaim", {"size": "1e99"}, "spec.size"),
        ("VolumeClaim", CLAIM | {"volumeMode": "Tape"}, "volumeMode"),
        ("VolumeClaim", CLAIM | {"deletionPolicy": "Shred"}, "deletionPolicy"),
        ("VolumeClaim", CLAIM | {"source": {"backupName": "a\n"}}, "backupName"),
        ("VolumeClaim", CLAIM | {"placement": {"node": "x" * 300}}, "placement.node"),
        (
            "VolumeClaim",
            CLAIM | {"placement": {"nodeSelector": {str(n): "x" for n in range(17)}}},
            "nodeSelector",
        ),
        ("VolumeClaim", CLAIM | {"storageClassName": "../../etc"}, "storageClassName"),
        ("VolumeClaim", CLAIM | {"source": {}}, "exactly one"),
        (
            "VolumeClaim",
            CLAIM | {"source": {"backupName": "a", "snapshotName": "b"}},
            "exactly one",
        ),
        (
            "VolumeClaim",
            CLAIM | {"placement": {"node": "a", "nodeSelector": {"b": "c"}}},
            "at most one",
        ),
        ("BackupSchedule", SCHEDULE | {"claims": {}}, "exactly one"),
        ("BackupSchedule", SCHEDULE | {"claims": {"all": False}}, "claims.all"),
        (
            "BackupSchedule",
            SCHEDULE | {"claims": {"all": True, "matchLabels": {"a": "b"}}},
            "exactly one",
        ),
        ("BackupSchedule", SCHEDULE | {"claims": {"names": []}}, "claims.names"),
        ("BackupSchedule", SCHEDULE | {"retention": {}}, "keeps nothing"),
        ("BackupSchedule", SCHEDULE | {"retention": {"daily": -1}}, "retention.daily"),
        ("BackupSchedule", SCHEDULE | {"concurrencyPolicy": "Wait"}, "concurrencyPolicy"),
        ("BackupSchedule", SCHEDULE | {"startingDeadlineSeconds": 1}, "startingDeadlineSeconds"),
        ("Backup", BACKUP | {"source": {}}, "exactly one"),
        (
            "Backup",
            BACKUP | {"source": {"volumeClaimName": "a", "persistentVolumeClaimName": "b"}},
            "exactly one",
        ),
        ("Backup", BACKUP | {"freezeTimeoutSeconds": 0}, "freezeTimeoutSeconds"),
        ("Backup", BACKUP | {"freezeTimeoutSeconds": 3600}, "freezeTimeoutSeconds"),
        ("Backup", BACKUP | {"freezeTimeoutSeconds": 10**30}, "freezeTimeoutSeconds"),
        ("Backup", BACKUP | {"freezeTimeoutSeconds": 1.5}, "freezeTimeoutSeconds"),
        ("Backup", BACKUP | {"activeDeadlineSeconds": -1}, "activeDeadlineSeconds"),
        ("Backup", BACKUP | {"source": {"volumeClaimName": None}}, "exactly one"),
        ("Backup", BACKUP | {"repositoryName": None}, "repositoryName"),
        ("Backup", BACKUP | {"repositoryName": "a/../b"}, "repositoryName"),
        ("BackupRepository", REPOSITORY | {"directory": {}}, "exactly one"),
        ("BackupRepository", REPOSITORY | {"directory": {"folder": "/etc"}}, "folder"),
        ("BackupRepository", {"directory": {"folder": "backups"}}, "encryption"),
        ("BackupRepository", REPOSITORY | {"directory": None}, "exactly one"),
        ("BackupRepository", REPOSITORY | {"s3": BUCKET}, "exactly one"),
        ("BackupRepository", IN_BUCKET | {"s3": BUCKET | {"prefix": "/a"}}, "prefix"),
        ("BackupRepository", IN_BUCKET | {"s3": BUCKET | {"endpoint": "ftp://a"}}, "endpoint"),
        ("BackupRepository", IN_BUCKET | {"s3": BUCKET | {"caBundle": "/etc/x"}}, "caBundle"),
        ("BackupRepository", IN_BUCKET | {"s3": {"bucket": "abc"}}, "credentialsSecretName"),
        ("Restore", {"target": {"claimName": "data"}}, "exactly one"),
        (
            "Restore",
            {"point": {"repositoryName": "a", "backupId": "b"}, "target": {"claimName": "c"}},
            "size is needed",
        ),
        ("Restore", RESTORE | {"target": {"claimName": "../x"}}, "claimName"),
        ("Restore", RESTORE | {"target": None}, "target"),
        ("Restore", RESTORE | {"target": {"claimName": "c", "size": "-1"}}, "target.size"),
        (
            "Restore",
            {
                "point": {"repositoryName": "a", "backupId": "../config"},
                "target": {"claimName": "c", "size": "1Gi"},
            },
            "backupId",
        ),
    ],
)
def test_bad_objects_are_refused_with_a_reason(
    control_plane: ApiServer, kind: str, spec: dict[str, Any], words: str
) -> None:
    done = control_plane.run("create", "-f", "-", stdin=document(kind, spec))
    assert done.returncode != 0
    assert words in done.stderr


def test_a_claim_whose_name_is_no_label_is_refused(control_plane: ApiServer) -> None:
    for name, words in (("x" * 64, "at most 63 characters"), ("../etc", "metadata.name")):
        done = control_plane.run("create", "-f", "-", stdin=document("VolumeClaim", CLAIM, name))
        assert done.returncode != 0
        assert words in done.stderr
    control_plane.must("create", "-f", "-", stdin=document("VolumeClaim", CLAIM, "x" * 63))


def test_null_is_as_good_as_left_out(control_plane: ApiServer) -> None:
    spec = CLAIM | {"source": None, "placement": None, "deletionPolicy": None}
    name = f"null-{next(_numbers)}"
    control_plane.must("create", "-f", "-", stdin=document("VolumeClaim", spec, name))
    found = json.loads(control_plane.must("get", "vcl", name, "-n", "default", "-o", "json"))
    assert found["spec"]["deletionPolicy"] == "Retain"
    assert "source" not in found["spec"]


def test_unknown_fields_are_told_to_kubectl_users(control_plane: ApiServer) -> None:
    done = control_plane.run("create", "-f", "-", stdin=document("Backup", BACKUP | {"keep": 3}))
    assert 'unknown field "spec.keep"' in done.stderr


@pytest.mark.parametrize(
    ("kind", "before", "change", "words"),
    [
        ("VolumeClaim", CLAIM, {"size": "9Gi"}, "cannot shrink"),
        ("VolumeClaim", CLAIM, {"size": "9999Mi"}, "cannot shrink"),
        ("VolumeClaim", CLAIM, {"storageClassName": "other"}, "cannot be changed"),
        ("VolumeClaim", CLAIM, {"source": {"backupName": "a"}}, "cannot be changed"),
        ("BackupSchedule", SCHEDULE, {"repositoryName": "other"}, "cannot be changed"),
        ("Backup", BACKUP, {"repositoryName": "other"}, "cannot be changed"),
        ("BackupRepository", REPOSITORY, {"directory": {"folder": "x"}}, "cannot be changed"),
        ("BackupRepository", IN_BUCKET, {"s3": BUCKET | {"prefix": "x"}}, "cannot be changed"),
        ("BackupRepository", REPOSITORY, {"directory": None, "s3": BUCKET}, "cannot be changed"),
        ("Restore", RESTORE, {"target": {"claimName": "x"}}, "cannot be changed"),
    ],
)
def test_what_must_not_change_cannot(
    control_plane: ApiServer,
    kind: str,
    before: dict[str, Any],
    change: dict[str, Any],
    words: str,
) -> None:
    name = f"fixed-{next(_numbers)}"
    control_plane.must("create", "-f", "-", stdin=document(kind, before, name))
    patch = json.dumps({"spec": change})
    done = control_plane.run("patch", kind, name, "--type=merge", "-p", patch)
    assert done.returncode != 0
    assert words in done.stderr


def test_a_claim_may_grow_and_change_its_policy(control_plane: ApiServer) -> None:
    control_plane.must("create", "-f", "-", stdin=document("VolumeClaim", CLAIM, "grows"))
    patch = json.dumps({"spec": {"size": "10241Mi", "deletionPolicy": "Delete"}})
    control_plane.must("patch", "vcl", "grows", "--type=merge", "-p", patch)
