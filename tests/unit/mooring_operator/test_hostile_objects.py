"""Objects that no CRD would let in, or that an older one did: a condition, never a crash."""

import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mooring.ports import cluster
from mooring_operator import protection_rounds, resources, statuses
from support.operator_world import NAMESPACE, OperatorWorld

KINDS: dict[str, tuple[cluster.Resource, str, dict[str, Any]]] = {
    "VolumeClaim": (
        resources.VOLUME_CLAIMS,
        "Ready",
        {
            "size": "10Gi",
            "storageClassName": "mooring",
            "volumeMode": "Filesystem",
            "source": {"backupName": "one"},
            "placement": {"node": "node-1"},
            "deletionPolicy": "Retain",
        },
    ),
    "Backup": (
        resources.BACKUPS,
        "Succeeded",
        {
            "source": {"persistentVolumeClaimName": "data"},
            "repositoryName": "main",
            "freezeTimeoutSeconds": 10,
            "deletionPolicy": "Retain",
        },
    ),
    "BackupRepository": (
        resources.BACKUP_REPOSITORIES,
        "Ready",
        {"directory": {"folder": "backups"}, "encryption": {"keySecretName": "key"}},
    ),
    "BackupSchedule": (
        resources.BACKUP_SCHEDULES,
        "Ready",
        {
            "schedule": "0 3 * * *",
            "timeZone": "Europe/Berlin",
            "claims": {"names": ["data"]},
            "repositoryName": "main",
            "startingDeadlineSeconds": 3600,
            "retention": {"last": 2, "daily": 7},
            "backup": {"freezeTimeoutSeconds": 5},
        },
    ),
    "Restore": (
        resources.RESTORES,
        "Succeeded",
        {
            "backupName": "one",
            "target": {"claimName": "restored", "size": "1Gi", "volumeMode": "Filesystem"},
            "placement": {"nodeSelector": {"disk": "nvme"}},
        },
    ),
}
HUGE = 10**30
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, HUGE, -HUGE, 1e308, float("nan")]),
    st.sampled_from(
        ["", "..", "../../etc", "/etc", "a/b", "a\nb", "\0", "x" * 300, "0", "-1Gi", "1e99Gi",
         "NaN", "9" * 20 + "Ei", "9Ei", "10 Gi", "Tape", "node-1", "data", "restored"]
    ),
    st.text(max_size=20),
    st.lists(st.none(), max_size=2),
    st.dictionaries(st.text(max_size=5), st.none() | st.text(max_size=5), max_size=2),
)  # fmt: skip


def spoil(draw: Any, spec: dict[str, Any]) -> None:
    """Replaces, adds or removes one field somewhere in a spec."""
    name = draw(st.one_of(st.sampled_from(sorted(spec)), st.text(max_size=10)))
    present = spec.get(name)
    if isinstance(present, dict) and present and draw(st.booleans()):
        spoil(draw, present)
    elif draw(st.integers(0, 3)) == 0:
        spec.pop(name, None)
    else:
        spec[name] = draw(VALUES)


@pytest.mark.parametrize("kind", sorted(KINDS))
@given(data=st.data())
@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_no_spec_whatsoever_is_a_bug(kind: str, data: st.DataObject) -> None:
    resource, condition, good = KINDS[kind]
    spec = copy.deepcopy(good)
    for _ in range(data.draw(st.integers(1, 2))):
        spoil(data.draw, spec)
    judge(resource, condition, spec)


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("spec", [None, {}, [], "x", 7, HUGE], ids=repr)
def test_a_spec_that_is_none_is_said(kind: str, spec: Any) -> None:
    resource, condition, _ = KINDS[kind]
    found = judge(resource, condition, spec)
    assert found["status"] != "True"
    assert found["reason"] == "InvalidInput"
    assert "spec" in found["message"]


def judge(resource: cluster.Resource, condition: str, spec: Any) -> dict[str, Any]:
    """Reconciles an object among others that stay as they are; returns its condition."""
    world = OperatorWorld()
    if resource is not resources.BACKUP_REPOSITORIES:
        world.make_repository()
    world.make_volume()
    before = world.cluster.must_get(cluster.CLAIMS, "data", NAMESPACE)
    world.apply(resource, "hostile", spec)
    for _ in range(2):
        world.step()
        world.play()
    world.step()
    world.reconcilers[protection_rounds.KIND](protection_rounds.KEY)
    assert world.cluster.must_get(cluster.CLAIMS, "data", NAMESPACE)["spec"] == before["spec"]
    found = statuses.condition(world.cluster.must_get(resource, "hostile", NAMESPACE), condition)
    assert found["reason"]
    assert found["message"]
    return dict(found)


def test_a_name_longer_than_a_label_is_said() -> None:
    world = OperatorWorld()
    world.apply(resources.VOLUME_CLAIMS, "x" * 64, {"size": "1Gi"})
    world.step()
    obj = world.cluster.must_get(resources.VOLUME_CLAIMS, "x" * 64, NAMESPACE)
    found = statuses.condition(obj, "Ready")
    assert (found["status"], found["reason"]) == ("False", "InvalidInput")
    assert "shorter name" in found["message"]
    assert world.cluster.names(cluster.CLAIMS) == []


@pytest.mark.parametrize("size", ["9" * 20 + "Ei", "8Ei", "1e19", "9223372036854775808"])
def test_a_size_beyond_every_disk_is_said(size: str) -> None:
    found = judge(resources.VOLUME_CLAIMS, "Ready", {"size": size})
    assert (found["status"], found["reason"]) == ("False", "InvalidInput")
