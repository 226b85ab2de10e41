"""Pool: the space that volumes come from, node by node, as the agents report it."""

from pydantic import Field

from mooring.api.v1alpha1 import base


class PoolSpec(base.Model):
    """Nothing yet: pools are set up in the ConfigMap mooring-config of mooring-system."""


class HeldEntry(base.Model):
    """Something that is still in a pool which is evacuated."""

    kind: str = Field(description="Volume, Snapshot or Trash.")
    name: str = Field(description="Its id.")
    what_to_do: str = Field(description="How it leaves the pool.")


class PoolNode(base.Model):
    """The pool on one node."""

    node: str = Field(description="Name of the node.")
    pool_uuid: str = Field(description="Stays with the pool's bytes.")
    backend: str = Field(description="reflink or directory.")
    total_bytes: int = Field(description="Size of the backing filesystem.")
    free_bytes: int = Field(description="What the backing filesystem can still give.")
    provisioned_bytes: int = Field(description="Sum of what volumes and snapshots were promised.")
    available_bytes: int = Field(description="Largest volume that would be taken now.")
    healthy: bool = Field(description="False when it takes no new volumes because of a fault.")
    message: str = Field(default="", description="What is wrong, or why it takes no new volumes.")
    waiting_volumes: int = Field(
        default=0,
        description="How many volumes are frozen, because a write to them could find no room.",
    )
    adopted_by: str | None = Field(
        default=None,
        description="The node that adopted this pool from here with its volumes, as a copy: what "
        "is here of them is what they were before.",
    )
    evacuating: bool = Field(
        default=False,
        description="Takes no new volumes, because it is to be emptied or is configured no more.",
    )
    held_count: int | None = Field(
        default=None, description="While it is evacuated: how many things are still in it."
    )
    held: list[HeldEntry] = Field(
        default_factory=list,
        max_length=50,
        description="While it is evacuated: the first of them, and what to do with each.",
    )
    observed_at: str | None = Field(
        default=None,
        description="When the node last answered.",
        json_schema_extra={"format": "date-time"},
    )


class PoolObjectStatus(base.Status):
    """The pool over all nodes."""

    nodes: list[PoolNode] = Field(
        default_factory=list,
        max_length=5000,
        description="One entry a node.",
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["node"],
        },
    )
    node_count: int | None = Field(default=None, description="How many nodes have it.")
    total: str | None = Field(default=None, description="Size over all nodes, for people.")
    free: str | None = Field(default=None, description="Free over all nodes, for people.")
    provisioned: str | None = Field(default=None, description="Promised, for people.")


KIND = base.Kind(
    kind="Pool",
    plural="pools",
    short_name="pool",
    namespaced=False,
    spec=PoolSpec,
    status=PoolObjectStatus,
    description=(
        "A Pool shows the space of one pool name on every node that has it. Deleting it removes "
        "no data, and it comes back."
    ),
    columns=(
        *base.condition_columns("Ready"),
        base.Column("Nodes", ".status.nodeCount", type="integer"),
        base.Column("Total", ".status.total"),
        base.Column("Free", ".status.free"),
        base.Column("Provisioned", ".status.provisioned"),
        base.message_column("Ready"),
    ),
    spec_required=False,
)
