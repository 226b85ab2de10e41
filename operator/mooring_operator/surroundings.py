"""What the reconcilers of runs share: the nodes, alone and together, the catalogue, the time."""

from dataclasses import dataclass

from mooring.ports import catalogue, clock, nodes
from mooring.volumes.fleet.fleet import Fleet


@dataclass(frozen=True)
class Surroundings:
    """The world beside the API server.

    Attributes:
        nodes: For calls to the node that holds a volume.
        fleet: For what must not wait for a node that is gone.
        catalogue: Which volume is on which node.
        time: The clock.
    """

    nodes: nodes.Nodes
    fleet: Fleet
    catalogue: catalogue.Catalogue
    time: clock.Clock
