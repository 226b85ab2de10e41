"""Child objects: the restricted profile, nothing needless, and names that a retry meets."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from mooring.api import keys
from mooring.backup import mover_spec
from mooring.domain import errors, ids
from mooring_operator.builders import jobs, mover_specs, owners, persistent_volumes
from mooring_operator.builders.repository_mounts import RepositoryMount

OWNER = owners.Owner("Backup", "shop", "one", "1b4e28ba-2fa1-11d2-883f-0016d3cca427")
NODE = ids.NodeName("node-1")
TAINTS = [
    {"key": "a", "value": "b", "effect": "NoSchedule"},
    {"key": "c", "effect": "NoExecute"},
    {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"},
    {"key": "node.kubernetes.io/disk-pressure", "effect": "NoSchedule"},
    {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"},
    {"key": "node.cloudprovider.kubernetes.io/shutdown", "effect": "NoSchedule"},
]
RUN = jobs.MoverRun(
    owner=OWNER,
    role=keys.ROLE_BACKUP,
    repository=RepositoryMount("key", claim="repository"),
    deadline_seconds=60,
    device_claim="device",
    read_only_device=True,
    node=NODE,
    taints=TAINTS,
)
SETTINGS = jobs.MoverSettings(image="mooring:test", permanent_exit_codes=(6, 2))
_RESTRICTED_VOLUMES = {
    "configMap", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected",
    "secret",
}  # fmt: skip


def pod() -> dict[str, Any]:
    spec = jobs.job(RUN, SETTINGS)["spec"]["template"]["spec"]
    assert isinstance(spec, dict)
    return spec


def test_the_pod_passes_the_restricted_profile() -> None:
    spec = pod()
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] != 0
    assert spec["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    for volume in spec["volumes"]:
        assert (volume.keys() - {"name"}) <= _RESTRICTED_VOLUMES
    for container in spec["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert "privileged" not in context
        assert "hostPort" not in json.dumps(container)


def test_the_pod_has_no_token_has_limits_and_cannot_change_its_image() -> None:
    spec = pod()
    assert spec["automountServiceAccountToken"] is False
    (container,) = spec["containers"]
    assert container["resources"]["limits"].keys() >= {"cpu", "memory"}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_the_pod_is_tied_to_the_node_and_stands_what_somebody_decided_of_it() -> None:
    spec = pod()
    required = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    (term,) = required["nodeSelectorTerms"]
    assert term["matchFields"] == [{"key": "metadata.name", "operator": "In", "values": [NODE]}]
    assert spec["tolerations"] == [
        {"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"},
        {"key": "a", "operator": "Equal", "value": "b", "effect": "NoSchedule"},
        {"key": "c", "operator": "Exists", "effect": "NoExecute"},
    ]


def test_a_pod_that_has_a_choice_of_nodes_tolerates_nothing() -> None:
    run = dataclasses.replace(RUN, node=None, taints=None)
    spec = jobs.job(run, SETTINGS)["spec"]["template"]["spec"]
    assert "tolerations" not in spec
    assert "affinity" not in spec


def test_the_pod_sees_one_device_read_only_and_one_key() -> None:
    spec = pod()
    (container,) = spec["containers"]
    assert container["volumeDevices"] == [{"name": "device", "devicePath": keys.DEVICE_PATH}]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert volumes["device"]["persistentVolumeClaim"] == {"claimName": "device", "readOnly": True}
    assert volumes["key"]["secret"]["items"] == [{"key": "key", "path": "key"}]


def test_permanent_failures_end_the_job_and_evictions_do_not_count() -> None:
    rules = jobs.job(RUN, SETTINGS)["spec"]["podFailurePolicy"]["rules"]
    assert rules[0]["action"] == "Ignore"
    assert rules[1]["onExitCodes"]["values"] == [2, 6]


@pytest.mark.parametrize("role", [keys.ROLE_BACKUP, keys.ROLE_RESTORE, keys.ROLE_REPOSITORY])
def test_names_are_short_enough_and_the_same_each_time(role: str) -> None:
    assert OWNER.child_name(role) == OWNER.child_name(role)
    assert len(OWNER.child_name(role)) <= 63


def test_a_snapshot_is_exposed_read_only_to_one_claim_alone() -> None:
    snapshot = ids.snapshot_id_for("x", ids.volume_id_for("y"))
    exposure = persistent_volumes.snapshot_exposure(OWNER, snapshot, 5, NODE)
    claim = persistent_volumes.exposing_claim(exposure)
    claim["metadata"]["uid"] = "the-uid"
    volume = persistent_volumes.exposing_volume(exposure, claim)
    assert volume["spec"]["claimRef"]["uid"] == "the-uid"
    assert volume["spec"]["csi"]["readOnly"] is True
    assert volume["spec"]["csi"]["volumeHandle"] == f"snapshot/{snapshot}"
    assert volume["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    assert volume["spec"]["accessModes"] == claim["spec"]["accessModes"] == ["ReadOnlyMany"]
    assert "ownerReferences" not in json.dumps([claim, volume])
    # A claim that names its volume before that exists is bound 15 s later.
    assert "volumeName" not in claim["spec"]
    wanted = claim["spec"]["selector"]["matchLabels"]
    assert wanted.items() <= volume["metadata"]["labels"].items()
    assert wanted[keys.OWNER_UID] == OWNER.uid


def test_a_claim_that_somebody_else_made_for_a_mover_is_refused() -> None:
    snapshot = ids.snapshot_id_for("x", ids.volume_id_for("y"))
    exposure = persistent_volumes.snapshot_exposure(OWNER, snapshot, 5, NODE)
    claim = persistent_volumes.exposing_claim(exposure)
    assert not persistent_volumes.is_bound(exposure, claim)
    bound = claim | {"spec": {"volumeName": exposure.name}, "status": {"phase": "Bound"}}
    assert persistent_volumes.is_bound(exposure, bound)
    with pytest.raises(errors.PreconditionFailed, match="kubectl -n shop delete pvc"):
        persistent_volumes.is_bound(exposure, claim | {"spec": {"volumeName": "other"}})


_TASK = mover_specs.BackupTask(
    backup_id=OWNER.uid,
    volume=mover_specs.BackedUpVolume("vol-1", 1 << 20, 4096, None),
    consistency="Filesystem",
    point_in_time="2026-01-01T00:00:00Z",
    documents={"persistentVolumeClaim": {"kind": "PersistentVolumeClaim"}},
)
_FOREIGN_TASK = dataclasses.replace(
    _TASK, volume=mover_specs.BackedUpVolume("pv-1", foreign_mode="Filesystem")
)


@pytest.mark.parametrize(
    ("spec", "model"),
    [
        (mover_specs.probe(), mover_spec.ProbeSpec),
        (mover_specs.backup(_TASK), mover_spec.BackupSpec),
        (mover_specs.backup(_FOREIGN_TASK), mover_spec.BackupSpec),
        (mover_specs.restore(OWNER.uid), mover_spec.RestoreSpec),
        (mover_specs.forget(OWNER.uid), mover_spec.ForgetSpec),
        (mover_specs.prune(600), mover_spec.PruneSpec),
        (mover_specs.check(30), mover_spec.CheckSpec),
        (mover_specs.check(None), mover_spec.CheckSpec),
        (mover_specs.listing("shop", None), mover_spec.ListSpec),
        (mover_specs.listing("shop", "bk-1"), mover_spec.ListSpec),
    ],
)
def test_movers_understand_what_they_are_told(
    tmp_path: Path, spec: dict[str, Any], model: type[mover_spec.MoverSpec]
) -> None:
    body = jobs.spec_config_map(RUN, spec)
    path = tmp_path / "spec.json"
    path.write_text(body["data"]["spec.json"])
    read = mover_spec.read_spec(path, model)
    assert str(read.repository.path) == keys.REPOSITORY_PATH
    assert str(read.repository.key_file) == keys.KEY_PATH


BUCKET = RepositoryMount(
    "key", url="s3://bucket/a?region=eu", credentials_secret="s3-login", ca_bundle="-----BEGIN"
)


def test_a_bucket_is_told_by_its_url_and_its_credentials_are_mounted(tmp_path: Path) -> None:
    run = dataclasses.replace(RUN, repository=BUCKET)
    body = jobs.spec_config_map(run, mover_specs.restore(OWNER.uid))
    assert body["data"].keys() == {"spec.json", "ca.pem"}
    (tmp_path / "spec.json").write_text(body["data"]["spec.json"])
    read = mover_spec.read_spec(tmp_path / "spec.json", mover_spec.RestoreSpec).repository
    assert str(read.location()) == BUCKET.url
    assert str(read.credentials) == keys.CREDENTIALS_PATH
    assert str(read.ca_bundle) == keys.CA_BUNDLE_PATH
    spec = jobs.job(run, SETTINGS)["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert mounts["credentials"]["mountPath"] == keys.CREDENTIALS_PATH
    assert mounts["credentials"]["readOnly"] is True
    assert "subPath" not in mounts["credentials"]  # such a mount never changes
    assert "repository" not in mounts
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert volumes["credentials"]["secret"]["secretName"] == "s3-login"
    assert volumes.keys() == mounts.keys() | {"device"}
    assert "s3-login" not in json.dumps([body, container])


ROOT = Path(__file__).resolve().parents[3]
_GRANTS = {
    "operator.yaml": {
        "backuprepositories": "get list patch watch",
        "backups": "create delete get list patch watch",
        "backupschedules": "get list watch",
        "configmaps": "create delete get patch",
        "customresourcedefinitions": "get list watch",
        "events": "create get list patch",
        "jobs": "create delete get",
        "leases": "create get update",
        "nodes": "get list",
        "persistentvolumeclaims": "create delete get list patch watch",
        "persistentvolumes": "create delete get list patch",
        "pods": "get list",
        "pods/log": "get",
        "pools": "create delete get list patch",
        "restores": "get list patch watch",
        "secrets": "create get",
        "storageclasses": "get",
        "tokenreviews": "create",
        "volumeclaims": "get list patch watch",
        "volumes": "create delete get list patch",
        "volumesnapshotclasses": "list",
        "volumesnapshotcontents": "get patch",
        "volumesnapshots": "create delete get",
    },
    "node.yaml": {
        "configmaps": "get",
        "pods": "list",
        "volumes": "create delete get list patch",
        "volumes/status": "patch",
        "nodes": "get",
    },
}


@pytest.mark.parametrize("name", sorted(_GRANTS))
def test_rights_are_these_and_no_more(name: str) -> None:
    granted: dict[str, set[str]] = {}
    for document in yaml.safe_load_all((ROOT / "deploy/manifests/rbac" / name).read_text()):
        for rule in document.get("rules", []):
            assert "*" not in json.dumps(rule)
            for resource in rule["resources"]:
                granted.setdefault(resource, set()).update(rule["verbs"])
    statuses = {resource for resource in granted if resource.endswith("/status")}
    assert all(granted[resource] == {"patch"} for resource in statuses)
    shown = {
        resource: " ".join(sorted(verbs))
        for resource, verbs in granted.items()
        if resource in _GRANTS[name] or resource not in statuses
    }
    assert shown == _GRANTS[name]


def test_nobody_of_ours_reads_secrets_but_the_operator_its_own() -> None:
    for path in (ROOT / "deploy/manifests/rbac").glob("*.yaml"):
        for document in yaml.safe_load_all(path.read_text()):
            for rule in document.get("rules", []):
                if "secrets" in rule["resources"] and rule["verbs"] != ["create"]:
                    assert document["kind"] == "Role"
                    assert rule["resourceNames"] == ["mooring-authority"]
