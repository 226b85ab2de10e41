"""Every part of Mooring goes one version on and back while a pod writes and syncs."""

import sys
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from mooring_dev.cluster import lifecycle
from mooring_dev.demo import installing
from mooring_dev.images import loading
from mooring_dev.kubectl import Kubectl
from support import other_versions
from support.shop import Shop

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
_LONGEST_GAP_SECONDS = 30.0
_WRITER = (
    "i=0; while :; do i=$((i+1)); "
    "if echo $i | dd conv=fsync 2>/dev/null >>/data/numbers; then echo $i; else echo FAILED; fi; "
    "sleep 0.05; done"
)


def roll_to(kubectl: Kubectl, tag: str) -> None:
    """Sets every image of Mooring's own, as an administrator does, and waits."""
    for workload in installing.WORKLOADS:
        spec = kubectl.json("get", workload, "-n", "mooring-system")["spec"]["template"]["spec"]
        own = [one["name"] for one in spec["containers"] if one["image"].startswith("mooring:")]
        images = [f"{name}=mooring:{tag}" for name in own]
        kubectl.run("set", "image", workload, "-n", "mooring-system", *images)
    for workload in installing.WORKLOADS:
        kubectl.wait_rolled_out(workload, "mooring-system", timeout_seconds=180)


def versions(shop: Shop) -> set[str]:
    """Which version each part runs, as its own code says."""
    found = set()
    for workload in installing.WORKLOADS:
        code = "import mooring; print(mooring.__version__)"
        python = "/opt/mooring/bin/python3"
        found.add(
            shop.kubectl.run(
                "exec", "-n", "mooring-system", workload, "--", python, "-c", code
            ).strip()
        )
    return found


def acknowledged(shop: Shop) -> list[tuple[datetime, str]]:
    text = shop.kubectl.run("logs", "writer", "-n", shop.namespace, "--timestamps")
    lines = [line.split(" ", 1) for line in text.splitlines()]
    return [(datetime.fromisoformat(time[:26] + "+00:00"), word) for time, word in lines]


def use_a_new_volume(shop: Shop, name: str) -> None:
    shop.claim(name, shop.cluster.node_names[1])
    shop.pod(name, name, "echo good >/data/file && sync && exec sleep 3600")
    shop.until(f"pod {name}", lambda: shop.running(name))
    assert shop.in_pod(name, "cat /data/file").strip() == "good"
    shop.delete("pod", name)
    shop.delete("vcl", name)
    shop.delete("pvc", name)


def test_a_pod_writes_on_through_an_upgrade_and_a_rollback(shop: Shop, tmp_path: Path) -> None:
    archives = [other_versions.earlier(tmp_path), other_versions.later(tmp_path)]
    loading.load_everywhere(lifecycle.current(), archives)
    shop.claim("data", shop.cluster.node_names[0])
    shop.pod("writer", "data", _WRITER)
    shop.until("the writer", lambda: shop.running("writer"))
    uid = shop.get("pod", "writer")["metadata"]["uid"]
    seen = []
    try:
        for tag in ("later", "dev", "earlier", "dev"):
            roll_to(shop.kubectl, tag)
            seen.append(versions(shop))
            use_a_new_volume(shop, f"new-{len(seen)}")
    finally:
        roll_to(shop.kubectl, "dev")
    assert [len(one) for one in seen] == [1, 1, 1, 1], "every part ran the same version"
    assert seen[0] != seen[1] == seen[3]

    pod = shop.get("pod", "writer")
    assert pod["metadata"]["uid"] == uid
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
    entries = acknowledged(shop)
    words = [word for _, word in entries]
    assert words == [str(number) for number in range(1, len(words) + 1)], "a write failed"
    gaps = [(after[0] - before[0]).total_seconds() for before, after in pairwise(entries)]
    took = (entries[-1][0] - entries[0][0]).total_seconds()
    sys.stdout.write(f"{len(words)} writes in {took:.0f} s, longest gap {max(gaps):.2f} s\n")
    assert max(gaps) < _LONGEST_GAP_SECONDS
    shop.delete("pod", "writer")
    shop.pod("reader", "data", "exec sleep 3600")
    shop.until("the reader", lambda: shop.running("reader"))
    kept = shop.in_pod("reader", "cat /data/numbers").split()
    assert kept[: len(words)] == words, "what was acknowledged is there"
