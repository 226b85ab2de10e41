"""Data that has to get to another node, and nodes that are switched off, come back or do not."""

import json
import os
import signal
from typing import Any

import pytest

from mooring_dev.cluster import lifecycle
from support import killing
from support.shop import Shop

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

SNAPSHOT_API = "snapshot.storage.k8s.io/v1"
COPIED_MEGABYTES = 400


def _copy(shop: Shop, name: str, source: dict[str, str]) -> None:
    """Asks for a copy of the size of its source, as a claim without a VolumeClaim."""
    spec = {
        "storageClassName": "mooring",
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "512Mi"}},
        "dataSource": source,
    }
    shop.create("PersistentVolumeClaim", name, spec, "v1")


def _reader(shop: Shop, claim: str, node: str) -> None:
    """Starts a pod that uses a claim and may run on one node alone."""
    selector = {"kubernetes.io/hostname": node}
    shop.pod(claim, claim, "exec sleep 3600", nodeSelector=selector)


def _copies_under_way(shop: Shop, node: str) -> dict[str, dict[str, Any]]:
    """Returns the records of volumes on a node whose content is still coming from another one."""
    find = "cat $(find /var/lib/mooring -path '*/records/volumes/vol-*.json') /dev/null"
    text, found = shop.cluster.on_node(node, "sh", "-c", find), {}
    decoder, at = json.JSONDecoder(), 0
    while (at := text.find("{", at)) >= 0:
        record, at = decoder.raw_decode(text, at)
        if record.get("pull"):
            found[str(record)] = record["pull"]
    return found


def test_copies_follow_their_pod_to_the_other_node_though_an_agent_is_killed(shop: Shop) -> None:
    home, other = shop.cluster.node_names
    content = shop.filled(COPIED_MEGABYTES, size="512Mi")
    source = {"persistentVolumeClaimName": "data"}
    spec = {"volumeSnapshotClassName": "mooring", "source": source}
    shop.create("VolumeSnapshot", "point", spec, SNAPSHOT_API)
    group = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "point"}
    victim = lifecycle.node_named(shop.cluster.layout, other)
    for claim, origin in {
        "restored": group,
        "cloned": {"kind": "PersistentVolumeClaim", "name": "data"},
    }.items():
        _copy(shop, claim, origin)
        _reader(shop, claim, other)
        shop.until("the copy to be under way", lambda: _copies_under_way(shop, other))
        (agent,) = killing.processes_on(victim)["agent"]
        os.kill(agent, signal.SIGKILL)
        assert _copies_under_way(shop, other), "it was killed in the middle"
        shop.until(f"pod {claim}", lambda claim=claim: shop.running(claim))
        assert shop.checksum(claim) == content
        assert shop.get("pod", claim)["spec"]["nodeName"] == other
    places = {v["metadata"]["name"]: v["spec"]["node"] for v in shop.volumes()}
    assert sorted(places.values()) == sorted([home, other, other])
    shop.until("the clone's own snapshot to go", lambda: len(_snapshots(shop)) == 1)


def _snapshots(shop: Shop) -> list[str]:
    return [one["name"] for v in shop.volumes() for one in v["status"].get("snapshots", [])]
