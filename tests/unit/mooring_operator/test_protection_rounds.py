"""Claims without a recent backup: the gauge, the condition of a VolumeClaim, Events of a claim."""

import urllib.request
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from mooring.api import keys
from mooring.ports import cluster
from mooring_operator import compose, resources, statuses
from mooring_operator.protection_rounds import KEY, KIND
from mooring_operator.settings import OperatorSettings
from support.operator_world import NAMESPACE, OperatorWorld


@pytest.fixture
def world() -> OperatorWorld:
    world = OperatorWorld()
    world.make_repository()
    world.make_volume()
    world.settle(6)
    return world


def gauge(world: OperatorWorld) -> float | None:
    world.reconcilers[KIND](KEY)
    registry = CollectorRegistry()
    registry.register(world.gauges.unprotected)
    labels = {"namespace": NAMESPACE}
    return registry.get_sample_value("mooring_unprotected_claims", labels)


def annotate(world: OperatorWorld, resource: cluster.Resource, name: str, rpo: str | None) -> None:
    change = {"metadata": {"annotations": {keys.RPO: rpo}}}
    namespace = NAMESPACE if resource.namespaced else ""
    world.cluster.patch(resource, name, change, namespace)


def events(world: OperatorWorld) -> list[tuple[str, str]]:
    found = [e for e in world.cluster.find(cluster.EVENTS) if e["involvedObject"]["name"] == "data"]
    return [(event["type"], event["reason"]) for event in found]


def marks(world: OperatorWorld) -> list[str]:
    found = world.cluster.find(cluster.CLAIMS, NAMESPACE)
    labels = [claim["metadata"].get("labels", {}).get(keys.UNPROTECTED) for claim in found]
    return [label for label in labels if label is not None]


def test_a_claim_without_any_backup_counts_quietly_until_it_has_one(world: OperatorWorld) -> None:
    assert gauge(world) == 1
    assert events(world) == []
    assert marks(world) == ["NoBackup"]
    world.make_backup()
    world.settle(20)
    assert gauge(world) == 0
    assert marks(world) == []
    world.cluster.calls.clear()
    gauge(world)
    assert not [call for call in world.cluster.calls if call.startswith("patch")]
    world.cluster.delete(resources.BACKUPS, "one", NAMESPACE)
    assert gauge(world) == 1, "one on its way out is none"


def test_with_an_age_it_counts_when_its_backup_is_older_and_says_so_once(
    world: OperatorWorld,
) -> None:
    annotate(world, cluster.CLAIMS, "data", "24h")
    assert gauge(world) == 0, "it is younger than that"
    world.make_backup()
    world.settle(20)
    world.clock.advance(90000)
    assert gauge(world) == 1
    assert gauge(world) == 1
    assert events(world) == [("Warning", "BackupTooOld")]
    world.make_backup("two")
    world.settle(20)
    assert gauge(world) == 0
    assert sorted(events(world)) == [("Normal", "BackupFresh"), ("Warning", "BackupTooOld")]


def test_a_backup_of_the_future_protects_nothing(world: OperatorWorld) -> None:
    """A clock ran ahead when it was made; its age is not known."""
    world.make_backup()
    world.settle(20)
    assert gauge(world) == 0
    future = {"snapshotTime": "2099-01-01T00:00:00Z"}
    world.cluster.set_status(resources.BACKUPS, "one", NAMESPACE, future)
    assert gauge(world) == 0  # it is not younger than the moment at which it was complete
    future["completionTime"] = "2099-01-01T00:01:00Z"
    world.cluster.set_status(resources.BACKUPS, "one", NAMESPACE, future)
    assert gauge(world) == 1


def test_the_class_speaks_for_its_claims_and_a_claim_for_itself(world: OperatorWorld) -> None:
    annotate(world, cluster.STORAGE_CLASSES, "mooring", "24h")
    assert gauge(world) == 0
    annotate(world, cluster.CLAIMS, "data", "none")
    world.clock.advance(90000)
    assert gauge(world) == 0
    annotate(world, cluster.CLAIMS, "data", None)
    assert gauge(world) == 1


def test_others_and_movers_claims_and_repositories_do_not_count(world: OperatorWorld) -> None:
    world.make_backup()
    world.settle(20)
    foreign = {"metadata": {"name": "slow"}, "provisioner": "nfs.example"}
    world.cluster.create(cluster.STORAGE_CLASSES, foreign)
    world.apply(cluster.CLAIMS, "foreign", {"storageClassName": "slow"})
    world.cluster.set_status(cluster.CLAIMS, "foreign", NAMESPACE, {"phase": "Bound"})
    world.make_volume("store")
    spec = {"directory": {"claimName": "store"}, "encryption": {"keySecretName": "key"}}
    world.apply(resources.BACKUP_REPOSITORIES, "second", spec)
    request = {"storageClassName": "mooring", "resources": {"requests": {"storage": "1"}}}
    world.apply(cluster.CLAIMS, "unbound", request)
    assert gauge(world) == 0


def test_a_volume_claim_shows_it_beside_its_other_conditions(world: OperatorWorld) -> None:
    world.apply(resources.VOLUME_CLAIMS, "data", {"size": "1Gi"})
    mark = {keys.VOLUME_CLAIM: "data"}
    uid = world.cluster.must_get(resources.VOLUME_CLAIMS, "data", NAMESPACE)["metadata"]["uid"]
    change: dict[str, Any] = {"metadata": {"labels": {**mark, keys.OWNER_UID: uid}}}
    world.cluster.patch(cluster.CLAIMS, "data", change, NAMESPACE)
    annotate(world, resources.VOLUME_CLAIMS, "data", "12h")
    world.settle(3)

    def shown() -> tuple[str, str]:
        obj = world.cluster.must_get(resources.VOLUME_CLAIMS, "data", NAMESPACE)
        assert len(obj["status"]["conditions"]) == 4
        found = statuses.condition(obj, "Protected")
        return found["status"], found["reason"]

    assert shown() == ("Unknown", "NotDue")
    world.make_backup()
    world.settle(20)
    assert shown() == ("True", "BackupFresh")
    world.clock.advance(50000)
    world.settle(2)
    assert shown() == ("False", "BackupTooOld")
    assert gauge(world) == 1
    future = {"snapshotTime": "2099-01-01T00:00:00Z", "completionTime": "2099-01-01T00:01:00Z"}
    world.cluster.set_status(resources.BACKUPS, "one", NAMESPACE, future)
    world.make_backup("two")
    world.settle(20)
    obj = world.cluster.must_get(resources.VOLUME_CLAIMS, "data", NAMESPACE)
    assert obj["status"]["lastBackup"]["name"] == "two"
    assert shown() == ("True", "BackupFresh")


def test_the_operator_serves_the_gauge_where_it_is_told_to(world: OperatorWorld) -> None:
    gauge(world)
    settings = OperatorSettings(image="mooring:test", metrics_listen="127.0.0.1:0")
    server = compose.metrics(settings, world.gauges)
    assert server is not None
    server.start()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=10) as page:
            text = page.read().decode()
    finally:
        server.stop()
    assert f'mooring_unprotected_claims{{namespace="{NAMESPACE}"}} 1.0' in text
    assert compose.metrics(OperatorSettings(image="mooring:test"), world.gauges) is None
