"""Writers and a garbage collector that share only the store: who notices what, and when."""

import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from mooring.adapters.blobstores.memory import MemoryBlobStore
from mooring.backup import pack_writer, progress
from mooring.backup.format import layout, manifests, packs
from mooring.domain import errors
from mooring.ports import blobstores
from support.backup_engine import KEY, SMALL_CHUNK, Engine
from support.collecting import age, collect

CHUNK = SMALL_CHUNK
IMAGE = random.Random(1).randbytes(3000 * CHUNK)


class WatchedStore(MemoryBlobStore):
    """Calls somebody before and after a write under a prefix."""

    def __init__(self) -> None:
        super().__init__()
        self.before: dict[str, Callable[[str], None]] = {}
        self.after: dict[str, Callable[[str], None]] = {}

    def put(self, key: str, data: blobstores.Buffer) -> None:
        self._call(self.before, key)
        super().put(key, data)
        self._call(self.after, key)

    def _call(self, who: dict[str, Callable[[str], None]], key: str) -> None:
        for prefix, callback in list(who.items()):
            if key.startswith(prefix):
                del who[prefix]
                callback(key)


@pytest.fixture
def store() -> WatchedStore:
    return WatchedStore()


@pytest.fixture
def engine(tmp_path: Path, store: WatchedStore) -> Engine:
    return Engine(tmp_path, store=store)


def close_session(store: WatchedStore) -> None:
    (session,) = (info.key.removeprefix("sessions/") for info in store.list("sessions/bk-2."))
    MemoryBlobStore.put(store, f"closed/{session}", b"")


def doom_all_packs(store: WatchedStore) -> None:
    for info in list(store.list("packs/")):
        MemoryBlobStore.put(store, "tombstones/" + info.key.rpartition("/")[2], b"")


def remove_session(store: WatchedStore) -> None:
    for info in store.list("sessions/bk-2."):
        store.delete(info.key)


CHANGED = bytes(CHUNK) + IMAGE[CHUNK:]


@pytest.mark.parametrize("act", [close_session, remove_session, lambda _: None])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_collector_that_takes_back_what_is_needed_is_noticed_at_the_commit(
    engine: Engine, store: WatchedStore, act: Callable[[WatchedStore], None], moment: str
) -> None:
    engine.back_up(IMAGE, "bk-1")

    def collect(_: str) -> None:
        act(store)
        doom_all_packs(store)

    getattr(store, moment)["manifests/bk-2"] = collect
    with pytest.raises(errors.Busy, match="try again"):
        engine.back_up(CHANGED, "bk-2")
    assert engine.object_names("manifests/") == ["manifests/bk-1"]


@pytest.mark.parametrize("act", [close_session, remove_session, lambda _: None])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_collector_that_takes_back_something_else_disturbs_nobody(
    engine: Engine, store: WatchedStore, act: Callable[[WatchedStore], None], moment: str
) -> None:
    engine.back_up(random.Random(2).randbytes(1000 * CHUNK), "bk-0", uid="volume-2")
    others = engine.object_names("packs/")
    engine.back_up(IMAGE, "bk-1")

    def collect(_: str) -> None:
        act(store)
        for key in others:
            MemoryBlobStore.put(store, "tombstones/" + key.rpartition("/")[2], b"")

    getattr(store, moment)["manifests/bk-2"] = collect
    assert not engine.back_up(CHANGED, "bk-2").existed
    assert engine.restore("bk-2") == CHANGED
    assert engine.back_up(CHANGED, "bk-2").existed


def test_a_session_closed_before_its_commit_fails(engine: Engine, store: WatchedStore) -> None:
    engine.back_up(IMAGE, "bk-1")
    store.after["index/bk-2."] = lambda _: close_session(store)
    with pytest.raises(errors.Busy, match="closed session bk-2"):
        engine.back_up(CHANGED, "bk-2")
    assert engine.object_names("manifests/") == ["manifests/bk-1"]


def test_a_backup_of_which_something_is_doomed_is_not_made(
    engine: Engine, store: WatchedStore
) -> None:
    """Nobody lists it, not even for a moment."""
    engine.back_up(IMAGE, "bk-1")
    made: list[str] = []
    store.after["index/bk-2."] = lambda _: doom_all_packs(store)
    store.before["manifests/bk-2"] = made.append
    with pytest.raises(errors.Busy, match="doomed what this backup needs"):
        engine.back_up(CHANGED, "bk-2")
    assert made == []


def sleep_for_weeks(engine: Engine) -> None:
    """While a writer sleeps it is given up, and in the end nothing is left that says so."""
    for days in (8, 1, 2):
        age(engine.store, timedelta(days=days, minutes=1))
        collect(engine)
    for prefix in ("sessions/bk-2.", "closed/", "tombstones/"):
        assert engine.object_names(prefix) == []


def test_a_writer_that_slept_for_weeks_makes_no_backup(engine: Engine, store: WatchedStore) -> None:
    made: list[str] = []
    store.after["index/bk-2."] = lambda _: sleep_for_weeks(engine)
    store.before["manifests/bk-2"] = made.append
    with pytest.raises(errors.Busy, match="doomed what this backup needs"):
        engine.back_up(IMAGE, "bk-2")
    assert made == []


def test_a_writer_that_slept_for_weeks_just_before_it_made_the_backup_withdraws_it(
    engine: Engine, store: WatchedStore
) -> None:
    store.before["manifests/bk-2"] = lambda _: sleep_for_weeks(engine)
    with pytest.raises(errors.Busy, match="took back"):
        engine.back_up(IMAGE, "bk-2")
    assert engine.object_names("manifests/") == []


def test_a_closed_session_is_noticed_though_no_tombstone_is_left(
    engine: Engine, store: WatchedStore
) -> None:
    """Its collector ran out of time before it could take the session away."""

    def collect_most(_: str) -> None:
        close_session(store)
        for info in list(store.list("packs/")):
            store.delete(info.key)

    store.before["manifests/bk-2"] = collect_most
    with pytest.raises(errors.Busy, match="took back"):
        engine.back_up(IMAGE, "bk-2")
    assert engine.object_names("manifests/") == []


def test_a_manifest_that_came_too_late_is_not_what_a_retry_finds(
    engine: Engine, store: WatchedStore
) -> None:
    """Its writer was paused for days, and killed before it could look once more."""
    engine.back_up(IMAGE, "bk-1")
    engine.back_up(CHANGED, "bk-2")
    close_session(store)
    packs = engine.object_names("packs/")
    for key in packs:
        store.delete(key)
    with pytest.raises(errors.Busy, match="came too late"):
        engine.back_up(CHANGED, "bk-2")
    assert engine.back_up(CHANGED, "bk-2", parent=None).manifest.parent is None
    assert engine.restore("bk-2") == CHANGED


def test_a_backup_that_was_given_up_is_no_parent(engine: Engine, store: WatchedStore) -> None:
    engine.back_up(IMAGE, "bk-1")
    engine.back_up(CHANGED, "bk-2")
    close_session(store)
    outcome = engine.back_up(CHANGED, "bk-3")
    assert outcome.manifest.parent is None
    assert any("gave up on backup bk-2" in note for note in outcome.notes)
    assert engine.restore("bk-3") == CHANGED


def test_a_session_is_announced_before_anything_is_written(
    engine: Engine, store: WatchedStore
) -> None:
    seen: list[list[str]] = []
    store.after["sessions/"] = lambda _: seen.append(engine.object_names())
    engine.back_up(IMAGE, "bk-1")
    (keys,) = seen
    assert [key.split("/")[0] for key in keys] == ["config", "sessions"]


def test_a_session_pins_its_parent(engine: Engine) -> None:
    first = engine.back_up(IMAGE, "bk-1").manifest
    second = engine.back_up(IMAGE, "bk-2").manifest
    key = layout.session_key(second.session)
    content = engine.open().get_sealed(key, layout.MAXIMUM_SESSION_BYTES)
    (pin,) = manifests.decode_session(content, key).parents
    assert (pin.backup_id, pin.root, pin.size_bytes) == ("bk-1", first.root, len(IMAGE))


def test_a_parent_forgotten_at_that_moment_is_not_built_on(
    engine: Engine, store: WatchedStore
) -> None:
    engine.back_up(IMAGE, "bk-1")
    store.after["sessions/bk-2."] = lambda _: store.delete("manifests/bk-1")
    with pytest.raises(errors.Busy, match="forgotten"):
        engine.back_up(IMAGE, "bk-2")
    assert engine.back_up(IMAGE, "bk-2").manifest.parent is None
    assert engine.restore("bk-2") == IMAGE


def test_of_two_attempts_the_first_manifest_stays(engine: Engine, store: WatchedStore) -> None:
    other = Engine.__new__(Engine)
    other.__dict__.update(engine.__dict__)
    other.folder = engine.folder / "other"
    other.folder.mkdir()
    first: list[str] = []

    def overtake(_: str) -> None:
        first.append(other.back_up(IMAGE, "bk-1").manifest.session)

    store.before["manifests/bk-1"] = overtake
    outcome = engine.back_up(IMAGE, "bk-1")
    assert outcome.existed
    assert [outcome.manifest.session] == first
    assert engine.restore("bk-1") == IMAGE


@pytest.fixture
def _small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "TARGET_BYTES", 64 << 10)
    monkeypatch.setattr(pack_writer, "SEGMENT_INTERVAL_SECONDS", 0.0)


@pytest.mark.usefixtures("_small_packs")
def test_a_retry_sends_only_what_the_first_attempt_had_not(engine: Engine) -> None:
    reports: list[progress.Progress] = []
    half = progress.Watch(
        reports.append,
        cancelled=lambda: bool(reports) and reports[-1].done > len(IMAGE) // 2,
        interval_seconds=0,
    )
    with pytest.raises(errors.Cancelled):
        engine.back_up(IMAGE, "bk-1", watch=half)
    assert engine.object_names("manifests/") == []
    outcome = engine.back_up(IMAGE, "bk-1")
    assert outcome.manifest.stats.bytes_sent < 0.7 * len(IMAGE)
    assert len(outcome.manifest.origins) == 2
    assert engine.restore("bk-1") == IMAGE
    second = engine.back_up(IMAGE, "bk-2")
    assert second.manifest.stats.bytes_sent == 0
    assert engine.restore("bk-2") == IMAGE


@pytest.mark.usefixtures("_small_packs")
def test_a_closed_attempt_is_not_used(engine: Engine, store: WatchedStore) -> None:
    def die(_: str) -> None:
        raise errors.Unreachable("gone")

    store.before["manifests/bk-1"] = die
    with pytest.raises(errors.Unreachable):
        engine.back_up(IMAGE, "bk-1")
    (session,) = engine.object_names("sessions/")
    store.put(session.replace("sessions/", "closed/"), b"")
    outcome = engine.back_up(IMAGE, "bk-1")
    assert outcome.manifest.stats.bytes_sent == len(IMAGE)
    assert engine.restore("bk-1") == IMAGE


@pytest.mark.usefixtures("_small_packs")
def test_an_attempt_that_is_closed_at_that_moment_fails_before_anything_is_sent(
    engine: Engine, store: WatchedStore
) -> None:
    def die(_: str) -> None:
        raise errors.Unreachable("gone")

    store.before["manifests/bk-1"] = die
    with pytest.raises(errors.Unreachable):
        engine.back_up(IMAGE, "bk-1")
    (session,) = engine.object_names("sessions/")
    sent = engine.object_names("packs/")
    closed = session.replace("sessions/", "closed/")
    store.before["sessions/bk-1."] = lambda _: MemoryBlobStore.put(store, closed, b"")
    with pytest.raises(errors.Busy, match="closed session bk-1"):
        engine.back_up(CHANGED, "bk-1")
    assert engine.object_names("packs/") == sent
    engine.back_up(CHANGED, "bk-1")
    assert engine.restore("bk-1") == CHANGED


def test_what_was_sent_again_is_read_from_the_new_pack(engine: Engine) -> None:
    engine.back_up(IMAGE, "bk-1")
    old = engine.object_names("packs/")
    engine.back_up(IMAGE, "bk-2", parent=None)
    for key in old:
        engine.store.put("tombstones/" + key.rpartition("/")[2], b"")
        engine.store.delete(key)
    assert engine.restore("bk-2") == IMAGE
    assert engine.restore("bk-1") == IMAGE


def test_an_added_key_slot_opens_the_repository(engine: Engine) -> None:
    assert engine.open(KEY).config.repository
    engine.store.put("keys/recovery", b'{"type": "of-tomorrow"}')
    engine.store.put("keys/broken", b"{")
    assert engine.open(KEY).config.repository
