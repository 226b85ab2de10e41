"""Creating a volume once, on one node, whatever dies in between.

The order is what matters: choose, reserve in the catalogue, call the agent. A retry finds the
reservation and calls the same agent, so there is never a second copy. A reservation is dropped
only when it is sure that the agent made nothing.
"""

from collections.abc import Sequence
from dataclasses import replace

from mooring.domain import errors, ids, transfers, volumes
from mooring.planning import placement, sizes
from mooring.ports import catalogue as catalogue_port
from mooring.ports import nodes as nodes_port
from mooring.volumes.fleet import lookups, pulling, requests, surveys

_MAY_HAVE_ACTED = (errors.Unreachable, errors.Busy, errors.HostFailure, errors.DataCorrupt)


class Provisioning:
    """Creates volumes; the caller holds the volume's lock."""

    def __init__(
        self,
        catalogue: catalogue_port.Catalogue,
        nodes: nodes_port.Nodes,
        existing: lookups.Lookups,
        pulls: pulling.Pulling,
    ) -> None:
        self._pulls = pulls
        self._catalogue = catalogue
        self._nodes = nodes
        self._existing = existing

    def create(self, request: requests.VolumeRequest) -> catalogue_port.CatalogueEntry:
        """Creates the volume of a request, or returns the one that its name stands for.

        Raises:
            AlreadyExists: The name is taken by a different volume.
            SpaceExhausted: No allowed node can take it, or its agent was never reached.
            Unreachable: The agent may have acted; the same call finishes the work.
            NotFound: The source does not exist.
        """
        entry = self._catalogue.entry(ids.volume_id_for(request.name))
        reserved_here = entry is None
        if entry is None:
            spec, node = self._plan(request)
            entry = self._catalogue.reserve(spec, node)
            # Labels are for people, and a catalogue may shorten them.
            reserved_here = (replace(entry.spec, labels=spec.labels), entry.node) == (spec, node)
        self._check(request, entry)
        try:
            record = self._call(entry, reserved_here=reserved_here)
        except errors.NotFound as error:
            if request.source is not None:
                raise
            self._check_pool(request.pool)
            raise errors.SpaceExhausted(str(error)) from error
        return replace(entry, spec=record.spec)

    def _check(self, request: requests.VolumeRequest, entry: catalogue_port.CatalogueEntry) -> None:
        if entry.deletion_requested:
            raise errors.Busy(
                f"volume {request.name[:128]!r} is being deleted, or snapshots of it still exist; "
                "wait, or use another name"
            )
        difference = requests.difference(request, entry.spec)
        if difference is not None:
            raise errors.AlreadyExists(
                f"a volume named {request.name[:128]!r} exists already, but {difference}; it is "
                "left as it is: use another name, or ask for what it is"
            )
        if not request.topology.allows(entry.node):
            raise errors.AlreadyExists(
                f"a volume named {request.name[:128]!r} exists already, but on node {entry.node}"
            )

    def _call(
        self, entry: catalogue_port.CatalogueEntry, *, reserved_here: bool
    ) -> volumes.VolumeRecord:
        try:
            if pulling.is_pulled(entry):
                return self._pull(entry, reserved_here=reserved_here)
            return self._nodes.storage(entry.node).create_volume(entry.spec)
        except errors.NeverReached as error:
            if not reserved_here:
                raise  # an earlier call may have reached it
            self._catalogue.drop(entry.spec.volume_id)
            raise errors.SpaceExhausted(f"nothing was created: {error}") from error
        except _MAY_HAVE_ACTED:
            raise
        except errors.AlreadyExists:
            if reserved_here:
                self._catalogue.drop(entry.spec.volume_id)
            raise
        except errors.MooringError:
            # The agent answered that it has no such volume, so the next try may go elsewhere.
            self._catalogue.drop(entry.spec.volume_id)
            raise

    def _pull(
        self, entry: catalogue_port.CatalogueEntry, *, reserved_here: bool
    ) -> volumes.VolumeRecord:
        try:
            return self._pulls.create(entry)
        except pulling.SourceAway as error:
            if not reserved_here:
                self._follow_source(entry)
                raise
            # The target was not asked to make anything, so its pod need not wait there.
            self._catalogue.drop(entry.spec.volume_id)
            raise errors.PreconditionFailed(str(error)) from error
        except (*_MAY_HAVE_ACTED, errors.AlreadyExists):
            raise
        except errors.MooringError:
            self._pulls.give_up(entry)
            raise

    def _follow_source(self, entry: catalogue_port.CatalogueEntry) -> None:
        """Takes a copy back whose source has come to another node with its pool.

        The target reads where the source is from its own record of the volume, so that is made
        anew, and with it what has come so far.

        Raises:
            Busy: It was taken back; the same call begins it anew.
            Unreachable: The target does not answer.
        """
        source = entry.spec.source
        snapshot_id = transfers.snapshot_of(source, entry.spec.volume_id) if source else None
        if source is None or snapshot_id is None:
            return
        present = self._existing.entry(ids.source_volume_id(snapshot_id))
        if present is None or present.node == source.node:
            return
        self._pulls.give_up(entry)
        self._catalogue.drop(entry.spec.volume_id)
        raise errors.Busy(
            f"the source of volume {entry.spec.volume_id} has come from node {source.node} to "
            f"{present.node}; it is copied anew"
        )

    def _plan(self, request: requests.VolumeRequest) -> tuple[volumes.VolumeSpec, ids.NodeName]:
        facts = self._source_facts(request.source) if request.source else None
        size_bytes = sizes.choose(request.size, source_size_bytes=facts.size_bytes if facts else 0)
        if facts is not None:
            requests.check_source(request, facts)
            place = self._place_copy(request, facts, size_bytes)
            spec = requests.build_spec(request, place.pool, size_bytes, facts)
            if spec.source is not None and place.node != facts.node:
                spec = replace(spec, source=replace(spec.source, node=facts.node))
            return spec, place.node
        place = self._place(request, size_bytes)
        return requests.build_spec(request, place.pool, size_bytes, None), place.node

    def _place_copy(
        self, request: requests.VolumeRequest, facts: requests.SourceFacts, size_bytes: int
    ) -> placement.Placement:
        """Chooses the source's own node if it may be that, and has room or nothing else may be."""
        allowed = request.topology.allowed(self._nodes.names())
        others = [node for node in allowed if node != facts.node]
        if request.topology.allows(facts.node):
            beside = placement.Placement(facts.node, facts.pool, "its source lies there")
            answer = self._pools_of([facts.node])[0].pools if others else None
            if answer is None or placement.has_room(answer, size_bytes, facts.pool):
                return beside
        return placement.choose(
            self._pools_of(others),
            size_bytes=size_bytes,
            pool=facts.pool,
            preferred=request.topology.preferred,
        )

    def _pools_of(self, names: Sequence[ids.NodeName]) -> list[placement.Offer]:
        answers = surveys.ask(self._nodes, names, lambda node: tuple(node.list_pools()))
        return [placement.Offer(node, answers[node]) for node in names]

    def _place(self, request: requests.VolumeRequest, size_bytes: int) -> placement.Placement:
        allowed = request.topology.allowed(self._nodes.names())
        if request.pool is not None and len(allowed) == 1:
            # Nothing is left to choose; the agent itself says if it has no room.
            return placement.Placement(allowed[0], request.pool, "the only node allowed")
        try:
            return placement.choose(
                self._pools_of(allowed),
                size_bytes=size_bytes,
                pool=request.pool,
                preferred=request.topology.preferred,
            )
        except errors.SpaceExhausted:
            self._check_pool(request.pool)
            raise

    def _check_pool(self, pool: ids.PoolName | None) -> None:
        """Tells a pool that exists nowhere, which is a mistake, from one without room."""
        if pool is None:
            return
        answers = surveys.ask(self._nodes, self._nodes.names(), lambda node: node.list_pools())
        if not answers or None in answers.values():
            return
        names = {status.name for answer in answers.values() for status in answer or ()}
        if pool not in names:
            raise errors.InvalidInput(
                f"there is no pool {pool!r} on any node; there are: "
                f"{', '.join(sorted(names)) or 'none'}"
            )

    def _source_facts(self, source: volumes.Source) -> requests.SourceFacts:
        if source.snapshot_id is not None:
            snapshot = self._existing.get_snapshot(source.snapshot_id)
            if snapshot.state is not volumes.SnapshotState.READY:
                raise errors.Busy(f"snapshot {snapshot.snapshot_id} is not ready")
            return requests.SourceFacts(
                self._node_of(snapshot.source_volume_id),
                snapshot.pool,
                snapshot.size_bytes,
                snapshot.mode,
                snapshot.filesystem,
                snapshot.sector_size_bytes,
            )
        if source.volume_id is None:
            raise errors.InvalidInput("a source names a volume or a snapshot")
        entry = self._existing.get_volume(source.volume_id)
        spec = entry.spec
        return requests.SourceFacts(
            entry.node,
            spec.pool,
            spec.size_bytes,
            spec.mode,
            spec.filesystem,
            spec.sector_size_bytes,
        )

    def _node_of(self, volume_id: ids.VolumeId) -> ids.NodeName:
        entry = self._existing.entry(volume_id)
        if entry is None:
            raise errors.NotFound(f"there is no volume {volume_id}")
        return entry.node
