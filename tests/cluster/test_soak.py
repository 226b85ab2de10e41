"""Rounds of everything a user does, while every process of Mooring is killed at random.

The tier runs two of them, `make soak` 100, two at a time. The seed is printed and can be given
again.
"""

import hashlib
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from support import evidence
from support.development_cluster import DevelopmentCluster
from support.killing import Killer
from support.shop import Shop, opened

ROUNDS = int(os.environ.get("MOORING_SOAK_ROUNDS", "2"))
SEED = int(os.environ.get("MOORING_TEST_SEED", "0")) or random.randrange(1 << 32)
AT_ONCE = 2
GROWN = "384Mi"
POOL = "/var/lib/mooring/pools/default"
SNAPSHOT_API = "snapshot.storage.k8s.io/v1"

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600 + 400 * ROUNDS)]

FILL = (
    "dd if=/dev/urandom of=/data/file bs=1M count=24 2>/dev/null && cd /data && "
    "sha256sum file > sum && sync && touch done && sync && exec sleep 36000"
)
CHECK = "cd /data && sha256sum -c sum"
COUNT = (
    "n=0; while :; do n=$((n + 1)); "
    "echo $n | dd of=/data/log oflag=append conv=notrunc,fsync 2> /dev/null && echo $n; "
    "sleep 0.05; done"
)
"""Says a number only after its fsync; the file must have every number that was said."""


class Round:
    """One life of a volume and all that is made of it.

    Args:
        shop: The tenant.
        number: Makes the names.
        dice: Chooses the nodes.
    """

    def __init__(self, shop: Shop, number: int, dice: random.Random) -> None:
        self._shop = shop
        self._home, self._away = dice.sample(shop.cluster.node_names, 2)
        self.name = f"r{number}"
        self.copies = {
            kind: f"{self.name}-{kind}" for kind in ("clone", "from-snapshot", "restored")
        }

    def live(self) -> None:
        """Makes a volume, copies it in every way there is, reads all of them and deletes them."""
        for what in (self._fill, self._copy, self._read, self._end):
            began = time.monotonic()
            what()
            name = what.__name__.strip("_")
            _say(f"{self.name}: {name} took {time.monotonic() - began:.0f} s")

    def _fill(self) -> None:
        shop, name = self._shop, self.name
        self._retried(lambda: shop.claim(name, self._home, deletionPolicy="Delete"))
        shop.pod(name, name, FILL)
        shop.until(f"pod {name}", lambda: shop.running(name))
        shop.until(f"{name}'s file", lambda: "done" in shop.in_pod(name, "ls /data"))

    def _read(self) -> None:
        shop, name = self._shop, self.name
        # A mounted ext4 grows only where the agent has CAP_SYS_RESOURCE; a new mount grows it too,
        # but a pod that follows at once on the same node gets the mount that is there.
        shop.until("its larger image", partial(_image_has_grown, shop, self.name))
        self._retried(lambda: shop.delete("pod", self.name))
        shop.until("its unmounting", partial(_is_unmounted, shop, self.name, self._home))
        for claim in (self.name, *self.copies.values()):
            self._retried(partial(shop.pod, claim, claim, "exec sleep 36000"))
        shop.until("the larger size", partial(_has_grown, shop, self.name))
        for claim in (name, *self.copies.values()):
            shop.until(f"pod {claim}", partial(shop.running, claim))
            assert "OK" in shop.until(f"{claim}'s checksum", partial(shop.in_pod, claim, CHECK))

    def _end(self) -> None:
        """Deletes it all in a user's order, and waits until it is gone."""
        shop, names = self._shop, (self.name, *self.copies.values())
        for kind, which in {
            "pod": names,
            "restore": [self.copies["restored"]],
            "volumesnapshot": [self.name],
            "backup": [self.name],
            "volumeclaim": [*names[:3]],
            "pvc": names,
        }.items():
            arguments = ("delete", kind, *which, "-n", shop.namespace, "--ignore-not-found")
            shop.kubectl.run(*arguments, "--wait=false", "--grace-period=1")
        for kind in ("pod", "restore", "backup", "volumeclaim", "pvc", "volumesnapshot"):
            for name in names:
                shop.until(f"{kind} {name} gone", partial(_gone, shop, kind, name))

    def _copy(self) -> None:
        shop, name = self._shop, self.name
        source = {"persistentVolumeClaimName": name}
        spec = {"volumeSnapshotClassName": "mooring", "source": source}
        shop.create("VolumeSnapshot", name, spec, SNAPSHOT_API)
        shop.backup(name, claim=name)
        self._claim_from(self.copies["clone"], volumeClaimName=name)
        shop.until("the snapshot", lambda: _ready(shop, name))
        self._claim_from(self.copies["from-snapshot"], snapshotName=name)
        shop.until_condition("backup", name, "Succeeded", "True")
        restored = self.copies["restored"]
        target = {"claimName": restored}
        shop.create(
            "Restore",
            restored,
            {"backupName": name, "target": target, "placement": {"node": self._away}},
        )
        # What is copied from a volume that has grown already would have to be as large.
        shop.until_condition("volumeclaim", self.copies["clone"], "Ready", "True")
        shop.claim(name, self._home, deletionPolicy="Delete", size=GROWN)
        shop.until_condition("restore", restored, "Succeeded", "True")

    def _claim_from(self, name: str, **source: str) -> None:
        spec = {"size": "256Mi", "source": source, "deletionPolicy": "Delete"}
        self._shop.create("VolumeClaim", name, spec)

    def _retried(self, act: Callable[[], None]) -> None:
        self._shop.until("an answer", lambda: act() or True)


def _say(line: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {line}\n")


def _gone(shop: Shop, kind: str, name: str) -> bool:
    return not shop.get(kind, name)


def _volume_of(shop: Shop, claim: str) -> dict[str, Any]:
    return shop.kubectl.json("get", "pv", shop.get("pvc", claim)["spec"]["volumeName"])


def _image_has_grown(shop: Shop, claim: str) -> bool:
    """The controller's part, without which the next mount finds nothing to grow into."""
    return bool(_volume_of(shop, claim)["spec"]["capacity"]["storage"] == GROWN)


def _is_unmounted(shop: Shop, claim: str, node: str) -> bool:
    volume = _volume_of(shop, claim)
    (terms,) = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert terms["matchExpressions"][0]["values"] == [node], "it is where it was to be"
    handle = volume["spec"]["csi"]["volumeHandle"]
    return hashlib.sha256(handle.encode()).hexdigest() not in shop.mounts(node)


def _has_grown(shop: Shop, claim: str) -> bool:
    return bool(
        shop.get("pvc", claim).get("status", {}).get("capacity", {}).get("storage") == GROWN
    )


def _ready(shop: Shop, name: str) -> bool:
    return bool(shop.get("volumesnapshot", name).get("status", {}).get("readyToUse"))


@pytest.fixture
def tenant(mooring: DevelopmentCluster) -> Iterator[Shop]:
    with opened(mooring) as shop:
        yield shop


def _mounts(shop: Shop) -> dict[str, int]:
    """Returns how many mounts of loop devices each node has."""
    return {
        node: sum(line.startswith("/dev/loop") for line in shop.mounts(node).splitlines())
        for node in shop.cluster.node_names
    }


def _loops(shop: Shop) -> set[str]:
    """Returns the images on the nodes' pools that have a loop device, mounted or not."""
    pools = [shop.cluster.on_node(n, "stat", "-c", "%d", POOL) for n in shop.cluster.node_names]
    devices = {f"{os.major(int(each))}:{os.minor(int(each))}" for each in pools}
    columns = ("losetup", "--list", "--noheadings", "--output", "BACK-MAJ:MIN,BACK-INO")
    found = shop.cluster.on_node(shop.cluster.node_names[0], *columns)
    return {line for line in found.splitlines() if line.split()[0] in devices}


def _reserved(shop: Shop) -> dict[str, int]:
    """Returns how many bytes of each node's pool are promised to volumes."""
    nodes = shop.kubectl.json("get", "pools.mooring.dev", "default")["status"]["nodes"]
    return {each["node"]: each["provisionedBytes"] for each in nodes}


def _promised(shop: Shop) -> dict[str, int]:
    """Returns the size of all sparse volumes of each node that are not in the trash."""
    sizes = dict.fromkeys(shop.cluster.node_names, 0)
    for volume in shop.kubectl.json("get", "volumes.mooring.dev")["items"]:
        if volume["status"].get("state") != "Trashed":
            sizes[volume["spec"]["node"]] += volume["status"]["sizeBytes"]
    return sizes


def _strays(shop: Shop) -> list[str]:
    """Returns what lies in the pools and is of no volume, trashed ones among them."""
    volumes = shop.kubectl.json("get", "volumes.mooring.dev")["items"]
    found = []
    for node in shop.cluster.node_names:
        known = {v["metadata"]["name"] for v in volumes if v["spec"]["node"] == node}
        command = ("find", f"{POOL}/images", f"{POOL}/records", "-type", "f")
        for path in shop.cluster.on_node(node, *command).split():
            name = Path(path)
            if name.parent.name in ("images", "volumes") and name.name.split(".")[0] in known:
                continue
            found.append(f"{node}: {path}")
    return found


def _living(shop: Shop) -> list[str]:
    """Returns the volumes that are not in the trash."""
    found = shop.volumes()
    return [v["metadata"]["name"] for v in found if v["status"].get("state") != "Trashed"]


def test_everything_survives_random_kills(tenant: Shop, tmp_path: Path) -> None:
    _say(f"MOORING_TEST_SEED={SEED}")
    try:
        _soak(tenant, random.Random(SEED))
    except BaseException:
        evidence.collect(tenant, tmp_path / "evidence")
        _say(f"see {tmp_path / 'evidence'}")
        raise


def _soak(shop: Shop, dice: random.Random) -> None:
    shop.claim("kept", shop.cluster.node_names[0])
    shop.pod("kept", "kept", COUNT)
    shop.until("pod kept", lambda: shop.running("kept"))
    loops, mounts = _loops(shop), _mounts(shop)
    began = time.monotonic()
    with Killer(shop.cluster, random.Random(SEED), _say) as killer:
        _live([Round(shop, number, dice) for number in range(ROUNDS)])
    minutes = (time.monotonic() - began) / 60
    _say(f"{ROUNDS} rounds in {minutes:.1f} min, kills: {dict(sorted(killer.kills.items()))}")
    shop.until("only the kept volume", lambda: len(_living(shop)) == 1)
    shop.until("mounts at their baseline", lambda: _mounts(shop) == mounts)
    shop.until("loops at their baseline", lambda: _loops(shop) == loops)
    shop.until("nothing reserved for what is gone", lambda: _reserved(shop) == _promised(shop))
    shop.until("nothing astray in the pools", lambda: not _strays(shop))
    shop.until("everything put away", lambda: not shop.leftovers())
    _nothing_said_is_lost(shop)


def _live(rounds: list[Round]) -> None:
    """Lives all rounds, some at a time; the first that fails ends them, and is not waited for."""
    pool = futures.ThreadPoolExecutor(AT_ONCE)
    try:
        for life in futures.as_completed([pool.submit(each.live) for each in rounds]):
            life.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _nothing_said_is_lost(shop: Shop) -> None:
    """Every number that the writer said after its fsync is in its file, once and in order."""
    said = shop.kubectl.run("logs", "kept", "-n", shop.namespace, "--tail=1").split()
    text = shop.until("the log", lambda: shop.in_pod("kept", "cat /data/log"))
    found = [int(line) for line in text.split()]
    assert found == list(range(1, len(found) + 1))
    assert len(found) >= int(said[0])
