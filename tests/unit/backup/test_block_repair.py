"""Bytes of a volume are put back where it is certain what they were, and nowhere else."""

import contextlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mooring.backup import block_repair, block_targets, progress, scrub, suspicion
from mooring.backup.block_repair import BlockRequest, BlockState
from mooring.domain import backups, errors
from mooring.domain.extents import Range
from mooring.planning import scrubbing
from support.rotting_volume import CHUNK, CHUNKS, Volume

AT = 300 * CHUNK + 77
_LOCK = """
import fcntl, sys
file = open(sys.argv[1], "r+b")
fcntl.lockf(file, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    volume = Volume(tmp_path)
    volume.back_up()
    volume.rot(AT, 900 * CHUNK)
    volume.back_up()
    return volume


def nobody(_: Path) -> Sequence[Path]:
    return ()


def mend(volume: Volume, backup_id: str = "bk-1", **request: object) -> list[BlockState]:
    """Mends the volume's image; returns what became of each chunk."""
    image = volume.engine.folder / "live"
    image.write_bytes(volume.content)
    repository = volume.engine.open()
    manifest = repository.manifest(backups.BackupId(backup_id))
    try:
        with block_targets.BlockTarget(image, nobody) as target:
            found = block_repair.repair_blocks(
                repository,
                manifest,
                target,
                BlockRequest(**request),  # type: ignore[arg-type]
                progress.Watch(),
            )
            return [one.state for one in found]
    finally:
        volume.content = bytearray(image.read_bytes())


def test_all_places_are_put_back_and_a_second_time_nothing_is_done(volume: Volume) -> None:
    assert mend(volume) == [BlockState.MENDED] * 2
    assert volume.content == volume.engine.restore("bk-0")
    assert mend(volume) == [BlockState.SOUND] * 2


def test_one_place_is_put_back_by_its_byte(volume: Volume) -> None:
    sound = volume.engine.restore("bk-0")
    assert mend(volume, offset_bytes=AT) == [BlockState.MENDED]
    assert volume.content[AT] == sound[AT]
    assert volume.content != sound
    with pytest.raises(errors.InvalidInput, match=f"begin at {AT}, {900 * CHUNK}"):
        mend(volume, offset_bytes=AT + 1)


def test_a_dry_run_writes_nothing(volume: Volume) -> None:
    before = bytes(volume.content)
    assert mend(volume, dry_run=True) == [BlockState.MENDABLE] * 2
    assert volume.content == before


def test_what_was_written_since_is_left_alone_without_the_word(volume: Volume) -> None:
    volume.write(300 * CHUNK, b"beside it")
    before = bytes(volume.content)
    assert mend(volume, offset_bytes=AT) == [BlockState.CHANGED]
    assert volume.content == before
    volume.back_up()  # knows what is there now, but not that the bad byte is no part of it
    assert mend(volume, "bk-2", offset_bytes=AT) == [BlockState.CHANGED]
    assert volume.content == before
    assert mend(volume, "bk-2", offset_bytes=AT, overwrite_changed=True) == [BlockState.MENDED]
    assert [at for at in range(len(before)) if before[at] != volume.content[at]] == [AT]


def test_two_places_of_one_chunk_that_went_bad_one_after_the_other(volume: Volume) -> None:
    volume.rot(AT + 5)
    volume.back_up()
    assert volume.places()[:2] == [(AT, 1, "bk-0"), (AT + 5, 1, "bk-1")]
    assert mend(volume, "bk-2") == [BlockState.MENDED] * 2
    assert volume.content == volume.engine.restore("bk-0")


def test_a_write_between_two_bad_bytes_is_never_undone(tmp_path: Path) -> None:
    volume = Volume(tmp_path)
    volume.back_up()
    volume.rot(AT, AT + 9)
    volume.back_up()
    assert volume.places() == [(AT, 10, "bk-0")]
    volume.write(AT + 3, b"user")
    for backup_id in ("bk-2", "bk-3"):
        volume.back_up()
        assert volume.places() == [(AT, 1, "bk-0"), (AT + 9, 1, "bk-0")]
        assert mend(volume, backup_id) == [BlockState.CHANGED]
        assert volume.content[AT + 3 : AT + 7] == b"user"
    assert mend(volume, "bk-3", overwrite_changed=True) == [BlockState.MENDED]
    assert volume.content[AT + 3 : AT + 7] == b"user"
    volume.written = [Range(AT, 10)]
    assert volume.back_up().suspect == ()


@pytest.mark.parametrize("most_lost", [10, 4096])
def test_what_somebody_wrote_is_never_taken_for_damage_however_much_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_lost: int
) -> None:
    monkeypatch.setattr(scrubbing, "MOST_PLACES", 5)
    monkeypatch.setattr(scrub, "_MOST_LOST", most_lost)
    volume = Volume(tmp_path)
    volume.back_up()
    volume.write(500 * CHUNK, b"N" * CHUNK)
    volume.rot(*range(CHUNK + 7, CHUNKS * CHUNK, 37 * CHUNK))
    for backup_id in ("bk-1", "bk-2"):
        volume.back_up()
        before = bytes(volume.content)
        with pytest.raises(errors.PreconditionFailed, match="restore backup bk-0"):
            mend(volume, backup_id)
        with pytest.raises(errors.PreconditionFailed, match="nothing was changed"):
            mend(volume, backup_id, offset_bytes=500 * CHUNK)
        assert volume.content == before
    if most_lost > 10:
        assert mend(volume, "bk-2", offset_bytes=CHUNK + 7) == [BlockState.MENDED]
        assert volume.content[500 * CHUNK : 501 * CHUNK] == b"N" * CHUNK


def test_what_was_not_looked_at_and_may_be_written_is_left_alone(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = volume.engine.restore("bk-0")
    monkeypatch.setattr(suspicion, "_MOST_JUDGED", 1)
    volume.write(AT, b"user")
    volume.back_up()
    with pytest.raises(errors.PreconditionFailed, match="not told apart"):
        mend(volume, "bk-2")
    assert volume.content[AT : AT + 4] == b"user"
    assert volume.content[900 * CHUNK] != good[900 * CHUNK]


offsets = st.integers(0, 8 * CHUNK - 1)
write = st.tuples(offsets, st.binary(min_size=1, max_size=2 * CHUNK))


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.tuples(
            st.lists(write, max_size=2),
            st.lists(offsets, max_size=6),
            st.booleans(),
            st.integers(0, 3),
        ),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from([2, 1000]),
    st.sampled_from([2, 4096]),
    st.sampled_from([4, 4096]),
)
def test_no_byte_that_is_right_is_ever_replaced(
    tmp_path: Path,
    rounds: list[tuple[list[tuple[int, bytes]], list[int], bool, int]],
    most_places: int,
    most_judged: int,
    most_lost: int,
) -> None:
    """Whatever is written, lost and backed up in between, from whatever base, within any limits."""
    volume = Volume(tmp_path, 8 * CHUNK)
    right = bytearray(volume.content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scrubbing, "MOST_PLACES", most_places)
        patch.setattr(suspicion, "_MOST_JUDGED", most_judged)
        patch.setattr(scrub, "_MOST_LOST", most_lost)
        volume.back_up()
        log: list[list[Range]] = []  # what was written since each backup, until the next
        for writes, rotten, tracked, behind in rounds:
            for offset, data in writes:
                volume.write(offset, data[: 8 * CHUNK - offset])
                right[offset : offset + len(data)] = data[: 8 * CHUNK - offset]
            volume.rot(*(at for at in set(rotten) if volume.content[at] == right[at]))
            log.append(volume.written)
            base = max(0, len(volume.made) - 1 - behind)
            since = sorted(one for some in log[base:] for one in some)
            changes = backups.Changes(
                volume.made[base].backup_id,
                volume.engine.open().config.repository_id,
                8 * CHUNK,
                since,
            )
            volume.back_up(changes=changes if tracked else None)
        before = bytes(volume.content)
        with contextlib.suppress(errors.PreconditionFailed):
            mend(volume, volume.made[-1].backup_id)
        for place in volume.places():
            with contextlib.suppress(errors.PreconditionFailed):
                mend(volume, volume.made[-1].backup_id, offset_bytes=place[0])
    now = zip(before, volume.content, right, strict=True)
    assert not [at for at, (one, two, truth) in enumerate(now) if one == truth != two]


def test_a_backup_that_is_not_suspect_mends_nothing(volume: Volume) -> None:
    with pytest.raises(errors.PreconditionFailed, match="not Suspect"):
        mend(volume, "bk-0")


def test_another_volume_is_refused_or_left_alone(volume: Volume) -> None:
    other = bytes(len(volume.content))
    volume.content = bytearray(other)
    assert mend(volume) == [BlockState.CHANGED] * 2
    assert volume.content == other
    volume.content = bytearray(other[:-1])
    with pytest.raises(errors.InvalidInput, match="name the volume"):
        mend(volume)


def test_a_file_that_is_attached_or_locked_is_refused(volume: Volume, tmp_path: Path) -> None:
    image = tmp_path / "image"
    with pytest.raises(errors.InUse, match="attached to /dev/loop7"):
        block_targets.BlockTarget(image, lambda _: [Path("/dev/loop7")])
    with subprocess.Popen(
        [sys.executable, "-c", _LOCK, str(image)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        with pytest.raises(errors.InUse, match="locked by another process"):
            block_targets.BlockTarget(image, nobody)
        process.communicate()
    with block_targets.BlockTarget(image, nobody):
        pass


def test_a_file_that_is_attached_meanwhile_is_said(volume: Volume, tmp_path: Path) -> None:
    calls: list[Path] = []

    def carriers(path: Path) -> Sequence[Path]:
        calls.append(path)
        return [Path("/dev/loop7")] if len(calls) > 1 else []

    with (
        block_targets.BlockTarget(tmp_path / "image", carriers) as target,
        pytest.raises(errors.InUse),
    ):
        target.write(0, bytes(CHUNK))


@pytest.mark.parametrize(
    ("name", "kind"), [("nothing", errors.NotFound), (".", errors.InvalidInput)]
)
def test_what_is_no_volume_is_refused(
    tmp_path: Path, name: str, kind: type[errors.MooringError]
) -> None:
    with pytest.raises(kind):
        block_targets.BlockTarget(tmp_path / name, nobody)
