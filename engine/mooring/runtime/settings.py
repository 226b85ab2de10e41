"""Settings of a node agent, read once from one YAML file.

    nodeName: node-a
    stateFolder: /var/lib/mooring
    pools:
      - name: fast
        backend: reflink
        path: /var/lib/mooring/fast
        imageSize: 20Gi

The file is checked whole before anything starts: an unknown key or a wrong value names itself.
"""

import itertools
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, TypeVar
from uuid import UUID

import pydantic
import yaml
from pydantic.alias_generators import to_camel

from mooring.domain import errors, ids, pools, quantities
from mooring.planning import fragmentation
from mooring.ports.pools import DEFAULT_TRASH_RETENTION, PoolConfiguration

_Parsed = TypeVar("_Parsed")


def _name(text: str) -> str:
    return _plainly(ids.parse_pool_name, text)


def _node(text: str) -> str:
    return _plainly(ids.parse_node_name, text)


def _size(value: object) -> object:
    return _plainly(quantities.parse_bytes, value) if isinstance(value, str) else value


def _duration(value: object) -> timedelta:
    return _plainly(quantities.parse_duration, str(value))


def _plainly(parse: Callable[[str], _Parsed], value: str) -> _Parsed:
    """Parses, with the kind of error that pydantic collects."""
    try:
        return parse(value)
    except errors.InvalidInput as error:
        raise ValueError(str(error)) from error


def _absolute(path: Path) -> Path:
    if not path.is_absolute() or ".." in path.parts:
        raise ValueError("it must be an absolute path without '..'")
    return path


AbsolutePath = Annotated[Path, pydantic.AfterValidator(_absolute)]


class _Settings(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
    )


class PoolSettings(_Settings):
    """One pool of a node.

    Attributes:
        name: The pool's name, a DNS label.
        backend: `reflink` (default) or `directory`.
        path: The pool's folder; for an embedded pool the folder that holds `pool.img`.
        image_size: Makes an embedded pool: one file of this size (`20Gi`, or bytes) with an XFS
            inside, which needs nothing of the filesystem it lies on. Only with `reflink`.
        overcommit: Share of a sparse volume's size that admission counts: 1.0 promises no more
            than there is, 0.5 promises twice as much. Above 0 and at most 1.
        trash_retention: How long a deleted volume is kept (`24h`, `90m`, `7d`; `0` keeps none).
            It is freed earlier, the oldest first, when its space is needed.
        nodes: The nodes that have it; every node when it is left out.
        evacuate: True, or the nodes on which it takes no new volumes, so that it can be emptied.
    """

    name: Annotated[str, pydantic.AfterValidator(_name)]
    backend: pools.PoolBackend = pools.PoolBackend.REFLINK
    path: AbsolutePath
    image_size: Annotated[
        Annotated[int, pydantic.Field(ge=320 << 20)] | None, pydantic.BeforeValidator(_size)
    ] = None
    overcommit: Annotated[float, pydantic.Field(gt=0, le=1)] = 1.0
    trash_retention: Annotated[timedelta, pydantic.BeforeValidator(_duration)] = (
        DEFAULT_TRASH_RETENTION
    )
    nodes: tuple[Annotated[str, pydantic.AfterValidator(_node)], ...] | None = None
    evacuate: bool | tuple[Annotated[str, pydantic.AfterValidator(_node)], ...] = False

    @pydantic.model_validator(mode="after")
    def _check(self) -> "PoolSettings":
        if self.backend is pools.PoolBackend.MEMORY:
            raise ValueError("a node cannot have a pool in memory")
        if self.image_size is not None and self.backend is not pools.PoolBackend.REFLINK:
            raise ValueError("imageSize makes a 'reflink' pool; leave it out for 'directory'")
        if self.image_size is not None and self.image_size % (1 << 20):
            raise ValueError("imageSize must be whole MiB")
        return self

    def is_on(self, node: ids.NodeName) -> bool:
        """Whether a node has it."""
        return self.nodes is None or node in self.nodes

    def may_share_with(self, other: "PoolSettings") -> bool:
        """Whether no node has both, so that they may have one name or one place."""
        if self.nodes is None or other.nodes is None:
            return False
        return not set(self.nodes) & set(other.nodes)

    def configuration(self, node: ids.NodeName) -> PoolConfiguration:
        """Returns the pool as the port of pools wants it on a node."""
        evacuated = self.evacuate if isinstance(self.evacuate, bool) else node in self.evacuate
        return PoolConfiguration(
            ids.PoolName(self.name),
            self.backend,
            self.path,
            self.image_size,
            self.overcommit,
            self.trash_retention,
            pools.PoolUse.EVACUATING if evacuated else pools.PoolUse.OPEN,
        )


class DefragmentationSettings(_Settings):
    """How images in many pieces are laid out anew while they are in use.

    Attributes:
        enabled: Whether they are.
        above_extents: Images with more pieces are.
        bytes_per_second: Longest pace of copying (`16Mi`, or bytes).
    """

    enabled: bool = True
    above_extents: Annotated[int, pydantic.Field(ge=100)] = fragmentation.Policy.above_extents
    bytes_per_second: Annotated[
        Annotated[int, pydantic.Field(ge=1 << 20)], pydantic.BeforeValidator(_size)
    ] = fragmentation.Policy.bytes_per_second

    def policy(self) -> fragmentation.Policy | None:
        """Returns them as the node wants them; None when it shall not do it."""
        if not self.enabled:
            return None
        return fragmentation.Policy(self.above_extents, self.bytes_per_second)


class AgentSettings(_Settings):
    """Settings of one node's agent.

    Attributes:
        node_name: The node's name in Kubernetes.
        state_folder: The agent's own folder; embedded pools are mounted below it, so in a pod it
            needs bidirectional mount propagation.
        transfer_rate: How many bytes a second all other nodes together may copy from this one
            (`200Mi`, or bytes); volumes keep the rest of the disk's speed.
        pools: The pools, at least one; each node has those that name it, or no node.
        forget_pools: UUIDs of pools that a node had and shall know no more, because they are
            lost for good or go to another node. One that is there is let go as soon as no pod
            uses it, and nothing in it is deleted.
        adopt_pools: UUIDs of pools that belong to a node which does not answer, and that are
            taken over all the same: only if that node surely does not use them.
        defragmentation: See `DefragmentationSettings`.
    """

    node_name: Annotated[str, pydantic.AfterValidator(_node)]
    state_folder: AbsolutePath = Path("/var/lib/mooring")
    transfer_rate: Annotated[
        Annotated[int, pydantic.Field(ge=1 << 20)], pydantic.BeforeValidator(_size)
    ] = 200 << 20
    pools: Annotated[tuple[PoolSettings, ...], pydantic.Field(min_length=1)]
    forget_pools: tuple[UUID, ...] = ()
    adopt_pools: tuple[UUID, ...] = ()
    defragmentation: DefragmentationSettings = DefragmentationSettings()

    @pydantic.model_validator(mode="after")
    def _check(self) -> "AgentSettings":
        for one, other in itertools.permutations(self.pools, 2):
            if one.may_share_with(other):
                continue
            if one.name == other.name:
                raise ValueError("two pools have the same name")
            if one.path == other.path:
                raise ValueError("two pools have the same path")
            if one.path in other.path.parents:
                raise ValueError("one pool's path lies inside another's")
        return self

    @property
    def node(self) -> ids.NodeName:
        """The node's name."""
        return ids.NodeName(self.node_name)

    def pool_configurations(self) -> tuple[PoolConfiguration, ...]:
        """Returns this node's pools as `adapters.registry.open_node_parts` wants them."""
        return tuple(pool.configuration(self.node) for pool in self.pools if pool.is_on(self.node))


def load_agent_settings(path: Path, *, node_name: str | None = None) -> AgentSettings:
    """Reads the settings of an agent.

    Args:
        path: The YAML file.
        node_name: The node's name when the file, shared by all nodes, does not say it.

    Raises:
        InvalidInput: The file is missing, is no YAML, or holds something wrong; each fault is
            named with its place.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise errors.InvalidInput(f"cannot read the settings {path}: {error}") from error
    if not isinstance(content, dict):
        raise errors.InvalidInput(f"the settings {path} are no YAML mapping")
    if node_name is not None and "nodeName" not in content:
        content = {**content, "nodeName": node_name}
    try:
        return AgentSettings.model_validate(content)
    except pydantic.ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc']) or 'file'}: {fault['msg']}"
            for fault in error.errors()
        )
        raise errors.InvalidInput(f"the settings {path} are wrong: {faults}") from error
