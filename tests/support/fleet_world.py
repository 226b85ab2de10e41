"""A fleet of two nodes in memory, and what is asked of it."""

from typing import Any

from mooring.adapters.catalogue.memory import MemoryCatalogue
from mooring.domain import ids
from mooring.planning import placement, sizes
from mooring.runtime.locks import ThreadLocks
from mooring.volumes.fleet import requests, surveys
from mooring.volumes.fleet.fleet import Fleet
from support.fake_nodes import GIB, FakeNode, FakeNodes


class World:
    """Two nodes, a catalogue, and controllers that can be killed."""

    def __init__(self) -> None:
        self.a, self.b = FakeNode("node-a"), FakeNode("node-b", size_bytes=200 * GIB)
        self.nodes = FakeNodes(self.a, self.b)
        self.catalogue = MemoryCatalogue()
        self.fleet = self.restart()

    def restart(self) -> Fleet:
        self.fleet = Fleet(self.catalogue, self.nodes, ThreadLocks())
        return self.fleet

    def copies(self) -> int:
        return len(self.a.volumes) + len(self.b.volumes)

    def report(self, node: FakeNode) -> None:
        self.catalogue.report(node.name, surveys.node_report(node))


def ask(name: str = "pvc-1", required: int = GIB, **fields: Any) -> requests.VolumeRequest:
    return requests.VolumeRequest(name, sizes.SizeRange(required), **fields)


def only(*names: str) -> placement.Topology:
    return placement.Topology(requisite=tuple(map(ids.NodeName, names)))
