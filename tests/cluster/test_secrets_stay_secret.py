"""No secret is found in a log, event, status, other object or command line, at the finest log."""

import json
import secrets
from collections.abc import Iterator

import pytest

from mooring.api import keys
from mooring_dev.demo import installing
from mooring_dev.kubectl import Kubectl
from support import canaries
from support.development_cluster import DevelopmentCluster
from support.shop import Shop

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
SYSTEM = "mooring-system"
CONTAINERS = dict(zip(installing.WORKLOADS, ("operator", "controller", "node"), strict=True))


def _log_at(kubectl: Kubectl, setting: str) -> None:
    for workload, container in CONTAINERS.items():
        kubectl.run("set", "env", workload, "-n", SYSTEM, "-c", container, setting)
    for workload in CONTAINERS:
        kubectl.wait_rolled_out(workload, SYSTEM)


@pytest.fixture
def verbose(mooring: DevelopmentCluster) -> Iterator[None]:
    _log_at(mooring.kubectl, "MOORING_LOG_LEVEL=debug")
    yield
    _log_at(mooring.kubectl, "MOORING_LOG_LEVEL-")


@pytest.fixture
def storage_class(shop: Shop) -> Iterator[str]:
    """A class whose volumes are staged and published with a Secret, which the kubelet sends."""
    name = f"{shop.namespace}-secret"
    secret = {
        f"csi.storage.k8s.io/{what}-secret-{part}": value
        for what in ("node-stage", "node-publish")
        for part, value in (("name", "stage"), ("namespace", shop.namespace))
    }
    body = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name},
        "provisioner": keys.DRIVER,
        "volumeBindingMode": "WaitForFirstConsumer",
        "parameters": secret,
    }
    shop.kubectl.apply(json.dumps(body))
    yield name
    shop.kubectl.run("delete", "storageclass", name)


def _secret(shop: Shop, name: str, entry: str) -> str:
    value = f"canary-{secrets.token_hex(16)}"
    literal = f"--from-literal={entry}={value}"
    shop.kubectl.run("create", "secret", "generic", name, "-n", shop.namespace, literal)
    return value


def _use_everything(shop: Shop, storage_class: str) -> None:
    """Touches each secret there is: keys good and bad, staging secrets, certificates, tokens."""
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": storage_class,
        "resources": {"requests": {"storage": "64Mi"}},
    }
    shop.create("PersistentVolumeClaim", "plain", claim, "v1")
    shop.pod("plain", "plain", "exec sleep 3600")
    shop.until("its pod", lambda: shop.running("plain"))
    shop.filled(megabytes=4)
    shop.backed_up()
    target = {"claimName": "restored"}
    shop.create("Restore", "back", {"backupName": "one", "target": target})
    shop.pod("reader", "restored", "exec sleep 3600")
    shop.until_condition("restore", "back", "Succeeded", "True")
    for key in ("bad", "other"):
        shop.repository(f"with-{key}", key=key)
        shop.until_condition("backuprepository", f"with-{key}", "Stalled", "True")


@pytest.mark.usefixtures("verbose")
def test_no_secret_is_found_anywhere(shop: Shop, storage_class: str) -> None:
    values = [_secret(shop, "bad", "key"), _secret(shop, "other", "wrong-entry")]
    values.append(_secret(shop, "stage", "password"))
    control = f"control-{secrets.token_hex(16)}"
    with canaries.Gathering(shop.cluster) as gathering:
        shop.claim("control", shop.cluster.node_names[0])
        shop.pod("control", "control", f"echo {control}; while :; do sleep 9; done")
        _use_everything(shop, storage_class)
        shop.until("the control", lambda: shop.running("control"))
        values += canaries.tokens(shop.cluster)
        for namespace in (shop.namespace, SYSTEM):
            values += canaries.secrets_of(shop.kubectl, namespace)
    metrics = canaries.metrics(shop.kubectl)
    assert all("mooring_pool_free_bytes" in text for text in metrics.values())
    gathering.gathered.texts |= metrics
    gathering.gathered.texts |= canaries.objects(shop.kubectl).texts
    kinds = {place.split()[0] for place in gathering.gathered.places_of([control])}
    assert kinds >= {"command", "log", "pods"}, "what is there for all to see is found"
    assert len(values) > len(shop.cluster.node_names) * 5
    assert not gathering.gathered.places_of(values)
