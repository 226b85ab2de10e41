"""The cluster's cgroups on a machine with the unified hierarchy."""

from pathlib import Path

import pytest

from mooring_dev.cluster import cgroups


@pytest.mark.parametrize(
    ("offered", "switched_on"), [("hugetlb memory rdma misc", "+memory"), ("hugetlb rdma misc", "")]
)
def test_only_the_controllers_that_a_node_uses_are_switched_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offered: str, switched_on: str
) -> None:
    monkeypatch.setattr(cgroups, "ROOT", tmp_path)
    (tmp_path / "cgroup.controllers").write_text(offered)
    switch = tmp_path / "cgroup.subtree_control"
    switch.write_text("")
    cgroups.make("mooring-1")
    assert switch.read_text() == switched_on
    assert (tmp_path / "mooring-1").is_dir()
