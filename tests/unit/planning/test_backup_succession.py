"""Whoever looked at a backup speaks for it; of two that were made at once each for itself."""

from datetime import UTC, datetime, timedelta

from mooring.domain import backups
from mooring.planning import backup_succession

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def making(name: str, began: float | None, written: float, parent: str = "") -> object:
    manifest = backups.BackupManifest(
        backup_id=backups.BackupId(name),
        volume=backups.VolumeFacts("volume-1", 512),
        chunk_size_bytes=512,
        consistency="Crash",
        point_in_time=NOON,
        finished_at=NOON,
        parent=backups.BackupId(parent) if parent else None,
        session=backups.SessionId(f"{name}." + "0" * 16),
        root=bytes(32),
    )
    hours = (None if at is None else NOON + timedelta(hours=at) for at in (began, written))
    return backup_succession.Making(manifest, *hours)  # type: ignore[arg-type]


def last(*makings: object) -> list[str]:
    found = backup_succession.last_ones(makings)  # type: ignore[arg-type]
    return [one.backup_id for one in found]


def test_the_last_of_a_line_speaks_for_all() -> None:
    assert last(making("a", 0, 1), making("b", 2, 3), making("c", 4, 5)) == ["c"]


def test_two_at_once_speak_both_until_one_comes_after_both() -> None:
    both = making("a", 0, 3), making("b", 1, 2)
    assert last(*both) == ["a", "b"]
    assert last(*both, making("c", 2.5, 4)) == ["a", "c"]
    assert last(*both, making("c", 3.5, 4)) == ["c"]


def test_what_it_builds_on_it_has_looked_at_whatever_the_times() -> None:
    assert last(making("a", 0, 1), making("b", None, 1, parent="a")) == ["b"]
    assert last(making("a", 0, 1), making("b", None, 1)) == ["a", "b"]
    assert last() == []
