"""The agent's settings file: what is wrong in it is named."""

from datetime import timedelta
from pathlib import Path

import pytest

from mooring.domain import errors, pools
from mooring.runtime import settings

GOOD = """
nodeName: node-a
stateFolder: /var/lib/mooring
pools:
  - {name: fast, path: /var/lib/mooring/fast, imageSize: 20Gi}
  - {name: plain, backend: directory, path: /srv/plain, overcommit: 0.5, trashRetention: 90m}
"""


def _load(folder: Path, text: str, node_name: str | None = None) -> settings.AgentSettings:
    file = folder / "agent.yaml"
    file.write_text(text)
    return settings.load_agent_settings(file, node_name=node_name)


def test_a_good_file(tmp_path: Path) -> None:
    loaded = _load(tmp_path, GOOD)
    fast, plain = loaded.pool_configurations()
    assert (fast.backend, fast.image_size_bytes) == (pools.PoolBackend.REFLINK, 20 << 30)
    assert (plain.backend, plain.image_size_bytes) == (pools.PoolBackend.DIRECTORY, None)
    assert plain.overcommit == 0.5
    assert (fast.trash_retention, plain.trash_retention) == (
        timedelta(hours=24),
        timedelta(minutes=90),
    )
    assert loaded.node == "node-a"


def test_the_node_name_may_come_from_outside(tmp_path: Path) -> None:
    text = GOOD.replace("nodeName: node-a\n", "")
    assert _load(tmp_path, text, "node-b").node == "node-b"
    assert _load(tmp_path, GOOD, "node-b").node == "node-a"
    with pytest.raises(errors.InvalidInput, match="nodeName"):
        _load(tmp_path, text)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("name: fast", "name: Fast", "DNS label"),
        ("imageSize: 20Gi", "imageSize: -1", "imageSize"),
        ("imageSize: 20Gi", "imageSize: 20Gb", "no size"),
        ("imageSize: 20Gi", "imageSize: 1Mi", "imageSize"),
        ("imageSize: 20Gi", "size: 20Gi", "size"),
        ("backend: directory", "backend: zfs", "backend"),
        ("backend: directory", "backend: memory", "memory"),
        ("overcommit: 0.5", "overcommit: 2", "overcommit"),
        ("overcommit: 0.5", "overcommit: 0", "overcommit"),
        ("overcommit: 0.5", "imageSize: 1Gi", "imageSize"),
        ("trashRetention: 90m", "trashRetention: 1 day", "24h"),
        ("trashRetention: 90m", "trashRetention: -1h", "24h"),
        ("path: /srv/plain", "path: srv/plain", "absolute"),
        ("path: /srv/plain", "path: /srv/../etc", "absolute"),
        ("path: /srv/plain", "path: /var/lib/mooring/fast", "same path"),
        ("path: /srv/plain", "path: /var/lib/mooring/fast/in", "inside"),
        ("name: plain", "name: fast", "same name"),
        ("nodeName: node-a", "nodeName: 'a/b'", "subdomain"),
        ("pools:", "poolz:", "pools"),
        (GOOD, "[]", "mapping"),
        (GOOD, "{", "cannot read"),
        (GOOD, "nodeName: a\npools: []", "pools"),
        (GOOD, "nodeName: a\npools: null", "pools"),
    ],
)
def test_a_fault_is_named(tmp_path: Path, old: str, new: str, named: str) -> None:
    assert old in GOOD
    with pytest.raises(errors.InvalidInput, match=named):
        _load(tmp_path, GOOD.replace(old, new))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidInput, match=r"absent\.yaml"):
        settings.load_agent_settings(tmp_path / "absent.yaml")


def test_a_pool_may_be_on_some_nodes_and_be_evacuated_on_some(tmp_path: Path) -> None:
    text = """
pools:
  - {name: fast, path: /srv/a, nodes: [node-a, node-b], evacuate: [node-b]}
  - {name: fast, path: /srv/c, nodes: [node-c]}
  - {name: all, path: /srv/all, evacuate: true}
"""
    found = {
        name: [
            (one.name, str(one.folder), one.use.value)
            for one in _load(tmp_path, text, name).pool_configurations()
        ]
        for name in ("node-a", "node-b", "node-c", "node-d")
    }
    everywhere = ("all", "/srv/all", "Evacuating")
    assert found == {
        "node-a": [("fast", "/srv/a", "Open"), everywhere],
        "node-b": [("fast", "/srv/a", "Evacuating"), everywhere],
        "node-c": [("fast", "/srv/c", "Open"), everywhere],
        "node-d": [everywhere],
    }
    with pytest.raises(errors.InvalidInput, match="same name"):
        _load(tmp_path, text.replace("nodes: [node-c]", "nodes: [node-b]"), "node-a")
