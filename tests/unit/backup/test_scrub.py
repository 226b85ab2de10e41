"""What a disk lost is found, said and not forgotten; what somebody wrote is never taken for it."""

import itertools
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mooring.backup import devices, progress, repository, scrub, suspicion
from mooring.domain import backups, errors
from mooring.domain.extents import Range
from mooring.planning import scrubbing
from support import collecting
from support.rotting_volume import CHUNK, CHUNKS, Volume


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    volume = Volume(tmp_path)
    volume.back_up()
    return volume


def test_a_sound_volume_is_read_in_turns_and_nothing_is_said(volume: Volume) -> None:
    hour = scrubbing.ScrubPolicy(timedelta(seconds=10), CHUNK)  # each backup is a second later
    for number in range(1, 11):
        volume.write(700 * CHUNK, b"new")
        record = volume.back_up(scrub=hour)
        # 110 of 1,100 chunks; the one that was written to is read anyway.
        assert record.bytes_read == (110 if number != 7 else 109) * CHUNK
        assert record == backups.ScrubRecord(number * 110 % CHUNKS, record.bytes_read)
        assert volume.made[-1].stats.bytes_read == CHUNK
        assert volume.notes == (f"only what changed since backup bk-{number - 1} is read",)


def test_without_a_policy_nothing_is_read_again(volume: Volume) -> None:
    volume.rot(5000)
    record = volume.back_up(scrub=scrubbing.NEVER)
    assert record == backups.ScrubRecord()


def test_what_a_neighbour_lost_makes_it_read_everything(volume: Volume) -> None:
    assert volume.made[0].scrub.whole
    assert not volume.back_up(scrub=scrubbing.NEVER).whole
    volume.rot(300 * CHUNK + 77)
    record = volume.back_up(scrub=scrubbing.NEVER, doubt_tracking=True)
    assert (record.whole, record.bytes_read, record.doubted) == (True, len(volume.content), True)
    assert volume.places() == [(300 * CHUNK + 77, 1, "bk-1")]
    assert "another volume of this pool" in "".join(volume.notes)


def test_asked_to_read_everything_it_takes_no_rot_for_a_write(volume: Volume) -> None:
    before = bytes(volume.content)
    volume.write(0, b"somebody wrote this")
    volume.rot(300 * CHUNK + 77)
    record = volume.back_up(scrub=scrubbing.NEVER, read_everything=True)
    unchanged = len(volume.content) - CHUNK
    assert (record.whole, record.bytes_read, record.doubted) == (True, unchanged, True)
    assert volume.reading == backups.Reading(backups.Scope.EVERYTHING, "that is asked for")
    assert volume.places() == [(300 * CHUNK + 77, 1, "bk-0")]
    assert volume.engine.restore("bk-0") == before
    assert volume.is_honest()


def test_asked_to_read_everything_it_finds_a_write_that_tracking_missed(volume: Volume) -> None:
    volume.content[9 * CHUNK : 9 * CHUNK + 4] = b"lost"
    assert volume.back_up(scrub=scrubbing.NEVER).suspect == ()
    assert not volume.is_honest()
    volume.back_up(scrub=scrubbing.NEVER, read_everything=True)
    assert volume.is_honest()
    assert volume.places() == [(9 * CHUNK, 4, "bk-1")]


def test_a_flipped_bit_is_found_and_both_contents_are_kept(volume: Volume) -> None:
    before = bytes(volume.content)
    volume.write(0, b"somebody wrote this")
    volume.rot(300 * CHUNK + 77, 301 * CHUNK + 5, 900 * CHUNK)
    record = volume.back_up()
    assert volume.places() == [
        (300 * CHUNK + 77, 1, "bk-0"),
        (301 * CHUNK + 5, 1, "bk-0"),
        (900 * CHUNK, 1, "bk-0"),
    ]
    assert record.doubted
    assert record.suspect[0].good_at == volume.made[0].point_in_time
    assert volume.engine.restore("bk-0") == before
    assert volume.is_honest()
    assert "byte 153677" in scrubbing.words(volume.made[-1])


def test_after_a_finding_all_is_read_once_and_the_place_stays_suspect(volume: Volume) -> None:
    volume.rot(300 * CHUNK + 77)
    volume.back_up()
    volume.rot(40 * CHUNK)  # a second one, which no turn would reach
    record = volume.back_up(scrub=scrubbing.NEVER)
    assert record.bytes_read == (CHUNKS - 1) * CHUNK
    assert "tracking did not say" in "".join(volume.notes)
    assert record.doubted
    assert volume.places() == [(40 * CHUNK, 1, "bk-1"), (300 * CHUNK + 77, 1, "bk-0")]
    third = volume.back_up(scrub=scrubbing.NEVER)
    assert (third.bytes_read, third.doubted) == ((CHUNKS - 2) * CHUNK, False)
    fourth = volume.back_up(scrub=scrubbing.NEVER)
    assert (fourth.bytes_read, fourth.doubted, fourth.whole) == (0, False, False)
    assert volume.places() == [(40 * CHUNK, 1, "bk-1"), (300 * CHUNK + 77, 1, "bk-0")]


@pytest.mark.parametrize("tracked", [True, False])
def test_a_mended_place_is_suspect_no_more(volume: Volume, tracked: bool) -> None:
    volume.rot(300 * CHUNK + 77)
    volume.back_up()
    volume.rot(300 * CHUNK + 77)  # as below the filesystem it went bad, it came back
    record = volume.back_up(tracked=tracked)
    assert record.suspect == ()
    assert not record.doubted
    assert volume.is_honest()
    assert "mended or overwritten" in "".join(volume.notes)


@pytest.mark.parametrize("tracked", [True, False])
def test_what_was_overwritten_is_suspect_no_more_and_the_rest_is(
    volume: Volume, tracked: bool
) -> None:
    volume.rot(300 * CHUNK + 77, 300 * CHUNK + 80, 500 * CHUNK)
    volume.back_up()
    bad = volume.content[300 * CHUNK + 80]
    volume.write(300 * CHUNK + 60, bytes([bad ^ 1]) * 20)  # up to the second bad byte
    volume.write(500 * CHUNK, bytes([volume.content[500 * CHUNK] ^ 1]))
    volume.back_up(tracked=tracked)
    assert volume.places() == [(300 * CHUNK + 80, 1, "bk-0")]
    assert volume.is_honest()
    volume.write(300 * CHUNK, bytes(CHUNK))
    assert volume.back_up(tracked=tracked).suspect == ()


def test_what_was_written_beside_a_bad_byte_is_not_suspect(volume: Volume) -> None:
    volume.rot(300 * CHUNK + 77)
    volume.back_up()
    volume.write(300 * CHUNK, b"beside it")
    volume.back_up()
    assert volume.places() == [(300 * CHUNK + 77, 1, "bk-0")]
    volume.rot(300 * CHUNK + 77)
    volume.written = [Range(300 * CHUNK, CHUNK)]  # somebody put it back
    assert volume.back_up().suspect == ()


def test_a_full_read_does_not_forget(volume: Volume) -> None:
    volume.rot(300 * CHUNK + 77)
    volume.back_up()
    record = volume.back_up(tracked=False)
    assert volume.places() == [(300 * CHUNK + 77, 1, "bk-0")]
    assert not record.doubted  # all of it was read


@pytest.mark.parametrize("parent", [None, "bk-0"])
def test_doubt_does_not_end_with_another_parent(volume: Volume, parent: str | None) -> None:
    volume.rot(300 * CHUNK + 77)
    volume.back_up()
    volume.back_up(tracked=False, parent=parent)
    assert volume.made[-1].parent == parent
    assert volume.places() == [(300 * CHUNK + 77, 1, "bk-0")]
    assert "suspect since an earlier backup" in "".join(volume.notes)
    assert volume.is_honest()
    volume.rot(300 * CHUNK + 77)  # as below the filesystem it went bad, it came back
    assert volume.back_up(tracked=False, parent=parent).suspect == ()
    assert "mended or overwritten" in "".join(volume.notes)


def test_doubt_does_not_end_with_another_chunk_size(volume: Volume) -> None:
    volume.rot(300 * CHUNK + 77)
    volume.back_up()
    for _ in range(2):
        volume.back_up(tracked=False, chunk_size_bytes=2 * CHUNK)
        assert volume.places() == [(300 * CHUNK + 77, 1, "bk-0")]
    assert volume.back_up(tracked=False, accept_suspect=True).suspect == ()


@pytest.mark.parametrize("parent", [None, "bk-1"])
def test_what_was_taken_as_it_is_stays_so_with_another_parent(
    volume: Volume, parent: str | None
) -> None:
    volume.rot(300 * CHUNK + 77)
    volume.back_up()
    assert volume.back_up(tracked=False, parent=parent, accept_suspect=True).suspect == ()
    assert volume.back_up(tracked=False, parent=parent).suspect == ()


def tracked_since(
    volume: Volume, backup_id: str, *written: Range, **more: bool
) -> backups.ScrubRecord:
    """Backs up by what changed since a backup that need not be the last one."""
    (base,) = [one for one in volume.made if one.backup_id == backup_id]
    repository_id = volume.engine.open().config.repository_id
    changes = backups.Changes(base.backup_id, repository_id, base.volume.size_bytes, list(written))
    record = volume.back_up(scrub=scrubbing.NEVER, changes=changes, **more)
    assert volume.made[-1].parent == backup_id
    assert volume.is_honest()
    return record


def test_doubt_does_not_end_with_a_base_behind_the_last_backup(volume: Volume) -> None:
    volume.rot(300 * CHUNK + 77)
    assert volume.back_up(scrub=scrubbing.NEVER, read_everything=True).doubted
    # A program read the bad page and wrote it back; the mover was killed before the base moved.
    record = tracked_since(volume, "bk-0", Range(300 * CHUNK, CHUNK))
    assert volume.places() == [(300 * CHUNK + 77, 1, "bk-0")]
    assert (record.whole, record.doubted) == (True, False)
    assert "bk-1 found what tracking did not say" in "".join(volume.notes)
    record = tracked_since(volume, "bk-0", Range(300 * CHUNK, CHUNK))
    assert volume.places() == [(300 * CHUNK + 77, 1, "bk-0")]
    assert not record.whole


def test_a_base_behind_the_last_backup_takes_in_what_is_mended_or_written(volume: Volume) -> None:
    volume.rot(300 * CHUNK + 77, 500 * CHUNK)
    volume.back_up()
    volume.rot(500 * CHUNK)
    volume.write(300 * CHUNK, bytes(CHUNK))
    record = tracked_since(volume, "bk-0", Range(300 * CHUNK, CHUNK))
    assert (record.suspect, record.doubted) == ((), False)


def test_what_was_taken_as_it_is_stays_so_with_a_base_behind(volume: Volume) -> None:
    volume.rot(300 * CHUNK + 77)
    volume.back_up()
    volume.back_up(tracked=False, accept_suspect=True)
    assert tracked_since(volume, "bk-1").suspect == ()
    assert volume.back_up().suspect == ()


def test_a_base_behind_with_another_chunk_size(volume: Volume) -> None:
    volume.rot(300 * CHUNK + 77)
    volume.back_up()
    volume.back_up(tracked=False, chunk_size_bytes=2 * CHUNK)
    tracked_since(volume, "bk-0", Range(300 * CHUNK, CHUNK))
    assert volume.places() == [(300 * CHUNK + 77, 1, "bk-0")]


def test_a_late_backup_of_an_older_snapshot_is_heard(volume: Volume) -> None:
    volume.back_up()
    volume.engine.clock.advance(-3600)
    volume.rot(300 * CHUNK + 77)
    assert tracked_since(volume, "bk-0", read_everything=True).doubted
    volume.engine.clock.advance(7200)
    tracked_since(volume, "bk-1", Range(300 * CHUNK, CHUNK))
    assert volume.places() == [(300 * CHUNK + 77, 1, "bk-0")]


def test_of_old_backups_only_those_are_read_that_may_know_more(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        volume.engine.back_up(b"another", f"other-{number}", uid=f"other-{number}")
    collecting.age(volume.engine.store, timedelta(days=1))
    volume.back_up()
    read: list[str] = []
    real = repository.Repository.manifest

    def manifest(self: repository.Repository, name: backups.BackupId) -> backups.BackupManifest:
        read.append(name)
        return real(self, name)

    monkeypatch.setattr(repository.Repository, "manifest", manifest)
    volume.back_up()
    assert not [name for name in read if name.startswith("other")]


def test_doubt_is_about_one_volume(volume: Volume) -> None:
    volume.rot(300 * CHUNK + 77)
    volume.back_up()
    assert volume.back_up(tracked=False, parent=None, uid="volume-2").suspect == ()


def test_somebody_may_take_it_as_it_is(volume: Volume) -> None:
    volume.rot(300 * CHUNK + 77)
    volume.back_up()
    record = volume.back_up(accept_suspect=True)
    assert record.suspect == ()
    assert record.bytes_read == CHUNKS * CHUNK
    assert volume.back_up().suspect == ()


def test_a_held_backup_that_is_gone_leaves_the_place_suspect(volume: Volume) -> None:
    volume.rot(300 * CHUNK + 77)
    volume.back_up()
    volume.engine.open().forget(backups.BackupId("bk-0"))
    volume.back_up()
    assert volume.places() == [(300 * CHUNK + 77, 1, "bk-0")]
    assert "cannot be read" in "".join(volume.notes)
    assert volume.back_up(accept_suspect=True).suspect == ()


class _Faulty(devices.VolumeSource):
    """A disk that cannot read one chunk, or reads it wrong as long as it is cached."""

    unreadable: int | None = None
    wrong_once: int | None = None

    def read_into(self, buffer: memoryview, offset: int) -> None:
        end = offset + len(buffer)
        if self.unreadable is not None and offset <= self.unreadable < end:
            raise errors.HostFailure("cannot read: Input/output error")
        super().read_into(buffer, offset)
        if self.wrong_once is not None and offset <= self.wrong_once < end:
            buffer[self.wrong_once - offset] ^= 1

    def read_anew(self, offset: int, length: int) -> bytes:
        if self.unreadable is not None and offset <= self.unreadable < offset + length:
            raise errors.HostFailure("cannot read: Input/output error")
        return super().read_anew(offset, length)


def test_what_cannot_be_read_is_suspect_and_stays_in_the_backup(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "VolumeSource", _Faulty)
    monkeypatch.setattr(_Faulty, "unreadable", 300 * CHUNK + 77)
    volume.write(0, b"somebody wrote this")
    assert volume.back_up().doubted
    assert volume.places() == [(300 * CHUNK, CHUNK, "bk-0")]
    assert not volume.back_up().doubted
    assert volume.places() == [(300 * CHUNK, CHUNK, "bk-0")]
    monkeypatch.setattr(_Faulty, "unreadable", None)
    assert volume.back_up().suspect == ()


def test_what_was_read_wrong_once_is_a_note(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "VolumeSource", _Faulty)
    monkeypatch.setattr(_Faulty, "wrong_once", 300 * CHUNK + 77)
    record = volume.back_up()
    assert (record.suspect, record.doubted) == ((), False)
    assert "1 chunks were read wrong once" in "".join(volume.notes)


def test_what_is_shown_of_a_backup_that_reads_everything_only_grows(volume: Volume) -> None:
    shown: list[progress.Progress] = []
    volume.write(700 * CHUNK, b"new")
    watch = progress.Watch(report=shown.append, interval_seconds=0)
    record = volume.back_up(scrub=scrubbing.NEVER, read_everything=True, watch=watch)
    assert record.whole
    for one, two in itertools.pairwise(shown):
        assert one.done <= two.done
        assert one.read <= two.read
        assert one.elapsed_seconds <= two.elapsed_seconds
        assert one.percent <= two.percent
    assert shown[0].percent < 50
    assert (shown[-1].percent, shown[-1].read) == (100, len(volume.content))
    assert volume.made[-1].stats.bytes_read == CHUNK  # what is shown is all that was read


def test_a_turn_shows_no_pass_of_its_own(volume: Volume) -> None:
    shown: list[progress.Progress] = []
    volume.back_up(watch=progress.Watch(report=shown.append, interval_seconds=0))
    assert {one.passes for one in shown} == {1}


def test_a_stopped_scrub_is_no_backup(volume: Volume) -> None:
    watch = progress.Watch(cancelled=lambda: True)
    with pytest.raises(errors.Cancelled):
        volume.back_up(watch=watch)
    assert volume.engine.object_names("manifests/") == ["manifests/bk-0"]


def test_a_parent_that_cannot_be_read_costs_no_backup(volume: Volume) -> None:
    volume.rot(300 * CHUNK + 77)
    volume.back_up()

    def flip(data: bytearray) -> None:
        for offset in range(100, len(data), 200):
            data[offset] ^= 1

    for key in volume.engine.object_names("packs/"):
        volume.engine.damage(key, flip)
    shown: list[progress.Progress] = []
    volume.back_up(watch=progress.Watch(report=shown.append, interval_seconds=0))
    assert [one.done for one in shown] == sorted(one.done for one in shown)
    assert shown[-1].percent == 100
    assert volume.places() == [(300 * CHUNK + 77, 1, "bk-0")]
    assert volume.made[-1].stats.bytes_read == len(volume.content)
    assert "the parent cannot be" in "".join(volume.notes)
    assert volume.is_honest()


def test_a_disk_that_lost_much_is_read_anew_and_told_in_one_place(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrub, "_MOST_LOST", 50)
    monkeypatch.setattr(suspicion, "_MOST_JUDGED", 50)
    volume.rot(*range(0, len(volume.content), 5 * CHUNK))
    assert volume.back_up().doubted
    assert volume.places() == [(0, len(volume.content), "bk-0")]
    assert volume.made[-1].stats.bytes_read == len(volume.content)
    assert volume.is_honest()
    volume.rot(7)
    volume.back_up()
    assert volume.places() == [(0, len(volume.content), "bk-0"), (7, 1, "bk-1")]
    assert "restore the volume" in "".join(volume.notes)
    assert volume.back_up(accept_suspect=True).suspect == ()


def test_many_places_forget_no_good_backup_and_no_bad_byte(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrubbing, "MOST_PLACES", 10)
    volume.rot(800 * CHUNK + 5)
    volume.back_up()
    many = range(7, 700 * CHUNK, 10 * CHUNK)
    volume.rot(*many, 900 * CHUNK)
    record = volume.back_up()
    assert set(record.holds) == {"bk-0", "bk-1"}
    assert len(record.suspect) == 10
    volume.rot(*many)  # a cable: they are read right again, and the other two are as bad as before
    volume.back_up()
    assert volume.places() == [(800 * CHUNK + 5, 1, "bk-0"), (900 * CHUNK, 1, "bk-1")]
    assert volume.is_honest()


def test_many_places_in_a_volume_that_grew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrubbing, "MOST_PLACES", 10)
    volume = Volume(tmp_path, 900 * CHUNK)
    volume.back_up()
    volume.rot(899 * CHUNK + 5)
    volume.written = [Range(900 * CHUNK, 300 * CHUNK)]
    volume.content += bytes([7]) * 300 * CHUNK
    volume.back_up()
    volume.rot(*range(7, 700 * CHUNK, 50 * CHUNK), *range(900 * CHUNK, 950 * CHUNK, 5 * CHUNK))
    for _ in range(3):
        assert set(volume.back_up().holds) == {"bk-0", "bk-1"}
    assert volume.is_honest()


def test_a_place_beyond_the_end_of_the_good_backup_was_zeros(volume: Volume) -> None:
    beyond = backups.SuspectPlace(
        CHUNKS * CHUNK, 3 * CHUNK, backups.BackupId("bk-0"), volume.made[0].point_in_time
    )
    volume.written = [Range(CHUNKS * CHUNK, 3 * CHUNK)]
    volume.content += b"x" * 3 * CHUNK
    volume.back_up()
    parent = replace(volume.made[-1], scrub=backups.ScrubRecord(suspect=(beyond,)))
    image = volume.engine.folder / "image"
    with devices.VolumeSource(image) as source:
        judged = suspicion.Suspicion(volume.engine.open(), parent, source).judge(
            [Range(0, source.size_bytes)]
        )
    assert scrubbing.joined(judged.places) == (beyond,)


def test_what_the_repository_lost_as_well_is_suspect_all_the_same(volume: Volume) -> None:
    volume.rot(300 * CHUNK + 77)
    (key,) = [
        key
        for key in volume.engine.object_names("packs/")
        if len(volume.engine.store.get(key, limit_bytes=1 << 30)) > len(volume.content)
    ]

    def flip(data: bytearray) -> None:
        for offset in range(100, len(data), 200):
            data[offset] ^= 1

    volume.engine.damage(key, flip)  # the chunks, not the tree
    volume.back_up()
    assert volume.places() == [(300 * CHUNK, CHUNK, "bk-0")]


def test_a_volume_that_grew_by_part_of_a_chunk(tmp_path: Path) -> None:
    volume = Volume(tmp_path, 600 * CHUNK + 100)
    volume.back_up()
    volume.written.append(Range(len(volume.content), 3 * CHUNK))
    volume.content += bytes(3 * CHUNK)
    volume.rot(599 * CHUNK)
    volume.back_up()
    assert volume.places() == [(599 * CHUNK, 1, "bk-0")]


offsets = st.integers(0, 40 * CHUNK - 1)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.tuples(
            st.lists(st.tuples(offsets, st.binary(min_size=1, max_size=3 * CHUNK)), max_size=3),
            st.lists(offsets, max_size=2),
            st.booleans(),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_rot_is_found_unless_it_was_overwritten_and_writes_are_never_taken_for_it(
    tmp_path: Path, rounds: list[tuple[list[tuple[int, bytes]], list[int], bool]]
) -> None:
    """A bad byte is found at the next look, unless a write to its chunk came before that."""
    volume = Volume(tmp_path, 40 * CHUNK)
    volume.back_up()
    found: dict[int, int] = {}  # byte to what it was damaged to
    for writes, rotten, tracked in rounds:
        fresh = set()
        for offset in set(rotten) - set(found):
            volume.rot(offset)
            fresh.add(offset)
        for offset, data in writes:
            volume.write(offset, data[: 40 * CHUNK - offset])
        dirty = {
            number
            for one in volume.written
            for number in range(one.offset_bytes // CHUNK, -(-one.end_bytes // CHUNK))
        }
        volume.back_up(tracked=tracked)
        if tracked:
            found |= {at: volume.content[at] for at in fresh if at // CHUNK not in dirty}
        found = {at: bad for at, bad in found.items() if volume.content[at] == bad}
        said = {
            at
            for one in volume.made[-1].scrub.suspect
            for at in range(one.offset_bytes, one.end_bytes)
        }
        assert set(found) <= said
        assert {at // CHUNK for at in said} == {at // CHUNK for at in found}
        assert volume.is_honest() or not tracked
