"""Backups that read only what changed: the same backup, at the price of the change."""

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mooring.backup import capture_jobs, devices, mover, mover_spec, progress
from mooring.backup.format import chunks, layout, trees
from mooring.domain import backups, errors, volumes
from mooring.domain.extents import Range
from mooring.planning import change_lists
from support.backup_engine import SMALL_CHUNK, Engine

CHUNK = SMALL_CHUNK
ZEROS = trees.ZERO_NODE
LEAF = 512 * CHUNK


READS: list[Range] = []


class CountedSource(devices.VolumeSource):
    """A source that remembers which ranges were read."""

    def read_into(self, buffer: memoryview, offset: int) -> None:
        READS.append(Range(offset, len(buffer)))
        super().read_into(buffer, offset)


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setattr(devices, "VolumeSource", CountedSource)
    return Engine(tmp_path)


def noise(length: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(length)


def since(engine: Engine, backup_id: str, size: int, ranges: Iterable[Range]) -> backups.Changes:
    return backups.Changes(
        backups.BackupId(backup_id),
        engine.open().config.repository_id,
        size,
        list(ranges),
    )


def written(image: bytearray, places: Iterable[tuple[int, bytes]]) -> list[Range]:
    """Writes into an image; returns where."""
    ranges = []
    for offset, content in places:
        image[offset : offset + len(content)] = content
        ranges.append(Range(offset, len(content)))
    return sorted(ranges)


writes = st.lists(
    st.tuples(st.integers(0, 4 * LEAF), st.integers(0, 3), st.integers(1, 6 * CHUNK)), max_size=8
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(1, 4 * LEAF), st.integers(0, LEAF), writes, writes)
def test_it_is_the_backup_that_reading_everything_makes(
    tmp_path: Path,
    size: int,
    growth: int,
    first: list[tuple[int, int, int]],
    second: list[tuple[int, int, int]],
) -> None:
    def places(wanted: list[tuple[int, int, int]], end: int) -> list[tuple[int, bytes]]:
        return [
            (offset % end, (noise(length, seed) if seed else bytes(length))[: end - offset % end])
            for offset, seed, length in wanted
        ]

    engine, image = Engine(tmp_path), bytearray(size)
    written(image, places(first, size))
    engine.back_up(bytes(image), "bk-1")
    image += bytes(growth)
    ranges = written(image, places(second, size + growth))
    ranges.append(Range(size, growth))
    ranges.sort()
    tracked = engine.back_up(
        bytes(image), "bk-2", changes=since(engine, "bk-1", size, ranges)
    ).manifest
    assert engine.restore("bk-2", verify=True) == image
    assert engine.back_up(bytes(image), "bk-3", parent=None).manifest.root == tracked.root


def test_only_what_changed_is_read(engine: Engine) -> None:
    image = bytearray(noise(3 * LEAF))
    engine.back_up(bytes(image), "bk-1")
    ranges = written(image, [(5 * CHUNK + 3, b"new"), (2 * LEAF - 1, b"over the edge")])
    READS.clear()
    outcome = engine.back_up(bytes(image), "bk-2", changes=since(engine, "bk-1", 3 * LEAF, ranges))
    assert sorted(READS) == [
        Range(5 * CHUNK, CHUNK),
        Range(2 * LEAF - CHUNK, CHUNK),
        Range(2 * LEAF, CHUNK),
    ]
    assert outcome.manifest.stats.bytes_read == outcome.manifest.stats.bytes_sent == 3 * CHUNK
    assert (outcome.manifest.parent, outcome.notes) == (
        "bk-1",
        ("only what changed since backup bk-1 is read",),
    )
    assert outcome.reading == backups.Reading(backups.Scope.CHANGED)
    assert engine.restore("bk-2") == image


def test_nothing_changed_reads_nothing(engine: Engine) -> None:
    image = noise(2 * LEAF + 5)
    first = engine.back_up(image, "bk-1")
    READS.clear()
    second = engine.back_up(image, "bk-2", changes=since(engine, "bk-1", len(image), []))
    assert READS == []
    assert second.manifest.root == first.manifest.root
    assert second.manifest.stats.bytes_stored == 0


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"since": "bk-0"}, "bk-0, since which the changes are known, is there no more"),
        ({"since": "bk-other"}, "of another volume"),
        ({"repository_id": "else"}, "in repository else"),
        ({"size_bytes": CHUNK}, "is of 65536 bytes"),
    ],
)
def test_changes_since_something_else_are_not_believed(
    engine: Engine, changes: dict[str, object], why: str
) -> None:
    image = bytearray(noise(128 * CHUNK))
    engine.back_up(bytes(image), "bk-1")
    engine.back_up(noise(128 * CHUNK), "bk-other", uid="volume-2")
    image[77] ^= 1
    known = since(engine, "bk-1", len(image), [])
    outcome = engine.back_up(
        bytes(image), "bk-2", changes=backups.Changes(**{**vars(known), **changes})
    )
    assert any(why in note for note in outcome.notes), outcome.notes
    assert outcome.reading is not None
    assert outcome.reading.scope is backups.Scope.EVERYTHING
    assert why in outcome.reading.reason
    assert outcome.manifest.stats.bytes_read == len(image)
    assert outcome.manifest.parent == "bk-1"
    assert engine.restore("bk-2") == image


def test_a_volume_that_shrank_is_read_whole(engine: Engine) -> None:
    engine.back_up(noise(128 * CHUNK), "bk-1")
    image = noise(64 * CHUNK)
    changes = since(engine, "bk-1", 128 * CHUNK, [])
    outcome = engine.back_up(image, "bk-2", changes=changes)
    assert any("smaller" in note for note in outcome.notes)
    assert engine.restore("bk-2") == image


def test_another_parent_or_none_asks_for_everything(engine: Engine) -> None:
    image = noise(128 * CHUNK)
    engine.back_up(image, "bk-1")
    engine.back_up(image, "bk-2")
    for number, parent in enumerate((None, "bk-2")):
        outcome = engine.back_up(
            image,
            f"bk-3{number}",
            parent=parent,
            changes=since(engine, "bk-1", len(image), []),
        )
        assert outcome.manifest.parent == parent
        assert outcome.manifest.stats.bytes_read == len(image)


def test_a_damaged_parent_costs_the_saving_and_never_the_backup(engine: Engine) -> None:
    image = bytearray(noise(3 * LEAF))
    engine.back_up(bytes(image), "bk-1")
    node_packs = set(engine.object_names("packs/"))

    def flip(data: bytearray) -> None:
        for place in range(100, len(data), 200):
            data[place] ^= 1

    for key in node_packs:
        engine.damage(key, flip)
    ranges = written(image, [(0, b"new")])
    outcome = engine.back_up(
        bytes(image), "bk-2", changes=since(engine, "bk-1", len(image), ranges)
    )
    assert any("the parent cannot be read" in note for note in outcome.notes)
    assert outcome.reading is not None
    assert outcome.reading.scope is backups.Scope.EVERYTHING
    assert "cannot be read" in outcome.reading.reason
    assert outcome.manifest.stats.bytes_read == len(image)
    assert engine.restore("bk-2", verify=True) == image


def test_a_mover_says_how_much_it_read_and_why(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "device").write_bytes(noise(CHUNK))
    repository = mover_spec.RepositorySpec(path=tmp_path, key_file=tmp_path)
    first_reason = "nothing tells what changed"

    def result(name: str, changes: Path | None) -> dict[str, Any]:
        spec = mover_spec.BackupSpec(
            repository=repository,
            device=tmp_path / "device",
            backup_id=name,
            volume=mover_spec.VolumeSpec(uid="volume-1"),
            changes=changes,
        )
        return mover.back_up(spec, engine.open(), progress.Watch(), "1")

    first = result("bk-1", None)
    assert (first["reading"], first["readingReason"]) == ("Everything", first_reason)
    second = result("bk-2", tmp_path / "absent")
    assert second["reading"] == "Everything"
    assert "the list of changes" in second["readingReason"]
    assert "reading" not in result("bk-2", None), "what an earlier attempt did is not known"
    listed = tmp_path / "changes"
    head = change_lists.Head(
        CHUNK, volumes.BackupBase(engine.open().config.repository_id, "bk-2"), CHUNK
    )
    listed.write_bytes(b"".join(change_lists.encode(head, [])))
    third = result("bk-3", listed)
    assert (third["reading"], third["readingReason"], third["bytesRead"]) == ("Changed", "", 0)


def test_a_source_that_fails_is_no_backup(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    image = noise(4 * CHUNK)
    engine.back_up(image, "bk-1")
    changes = since(engine, "bk-1", 4 * CHUNK, [Range(0, 4 * CHUNK)])

    def broken(*_: object) -> None:
        raise errors.HostFailure("cannot read")

    monkeypatch.setattr(CountedSource, "read_into", broken)
    with pytest.raises(errors.HostFailure):
        engine.back_up(image, "bk-2", changes=changes)
    assert engine.object_names("manifests/") == ["manifests/bk-1"]


@given(
    st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 1500))),
    st.integers(1, 5000),
    st.sampled_from([1, 32, 512]),
)
def test_jobs_cover_what_was_named_once_and_in_order(
    parts: list[tuple[int, int]], chunk_count: int, most: int
) -> None:
    size = chunk_count * CHUNK - 3 if chunk_count else 0
    ranges = sorted(Range(first * CHUNK + 1, count * CHUNK - 1) for first, count in parts)
    jobs = list(capture_jobs.touched(ranges, CHUNK, size, most))
    named = [first + step for job in jobs for first, count in job.runs for step in range(count)]
    wanted = {number for first, count in parts for number in range(first, first + count)}
    assert named == sorted(number for number in wanted if number < chunk_count)
    for job in jobs:
        assert sum(count for _, count in job.runs) <= most
        assert {first // 512 for first, _ in job.runs} == {job.leaf}


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from([1, 511, 512, 513, 262_143, 262_144, 262_145]),
    st.integers(0, 600),
    st.sets(st.integers(0, 262_700), max_size=20),
    st.sets(st.integers(0, 262_700), max_size=20),
)
def test_a_tree_that_grew_is_the_one_built_anew(
    count: int, growth: int, first: set[int], second: set[int]
) -> None:
    stored: dict[bytes, bytes] = {}

    def emit(_level: int, _index: int, node: bytes) -> bytes:
        ident = chunks.chunk_id(bytes(32), node)
        stored[ident] = node
        return ident

    def leaves(places: dict[int, bytes], wanted: Iterable[int]) -> dict[int, bytes]:
        found = {leaf: bytearray(trees.NODE_BYTES) for leaf in sorted(set(wanted))}
        for place, ident in places.items():
            if place // 512 in found:
                found[place // 512][place % 512 * 32 : place % 512 * 32 + 32] = ident
        return {leaf: bytes(content) for leaf, content in found.items()}

    def built(
        chunk_count: int, wanted: dict[int, bytes], before: trees.Before, root: bytes
    ) -> bytes:
        builder = trees.TreeBuilder(chunk_count, emit, before, root)
        for leaf, content in wanted.items():
            builder.put_leaf(leaf, content)
        return builder.finish()

    old = {place % count: b"\1" * 32 for place in first}
    root = built(count, leaves(old, range(-(-count // 512))), trees.nothing_before, layout.ZERO_ID)
    total, levels = count + growth, trees.level_count(count)

    def before(level: int, index: int) -> bytes:
        if level >= levels:
            return root.ljust(trees.NODE_BYTES, b"\0") if (level, index) == (levels, 0) else ZEROS
        ident, span = root, levels - 1
        while span > level and ident != layout.ZERO_ID:
            ident = trees.entry(stored[ident], index // 512 ** (span - level - 1) % 512)
            span -= 1
        return stored.get(ident, ZEROS) if index < 512 ** (levels - 1 - level) else ZEROS

    new = {place % total: b"\2" * 32 for place in second}
    changed = {place // 512 for place in new} | set(range(count // 512, -(-total // 512)))
    all_of_it = {**old, **new}
    patched = built(total, leaves(all_of_it, changed), before, root)
    anew = built(
        total, leaves(all_of_it, range(-(-total // 512))), trees.nothing_before, layout.ZERO_ID
    )
    assert patched == anew
