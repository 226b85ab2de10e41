"""`mooring repo prune` from arguments to exit code, with a real folder as repository."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mooring.adapters.blobstores.directory import DirectoryBlobStore
from support.collecting import DAY, age

Run = Callable[..., tuple[int, str, str]]
IMAGES = {f"bk-{seed}": random.Random(seed).randbytes(300_000) for seed in range(3)}


@pytest.fixture
def repo(tmp_path: Path, mooring: Run, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with three backups of one volume."""
    monkeypatch.setenv("MOORING_REPOSITORY", str(tmp_path / "repo"))
    monkeypatch.setenv("MOORING_KEY_FILE", str(tmp_path / "key"))
    assert mooring("repo", "init")[0] == 0
    image = tmp_path / "image"
    for backup_id, content in IMAGES.items():
        image.write_bytes(content)
        assert mooring("backup", str(image), "--id", backup_id)[0] == 0
    return tmp_path / "repo"


def answer(mooring: Run, *words: str) -> Any:
    code, out, err = mooring(*words, "-o", "json")
    assert code == 0, err
    return json.loads(out)


def stored(repo: Path) -> dict[Path, tuple[bytes, int]]:
    files = (path for path in repo.rglob("*") if path.is_file())
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_it_drops_marks_and_a_day_later_deletes(repo: Path, mooring: Run, tmp_path: Path) -> None:
    store = DirectoryBlobStore(repo)
    first = answer(mooring, "repo", "prune", "--keep-last", "1")
    assert (first["backupsDropped"], first["bytesDeleted"]) == (2, 0)
    assert first["bytesMarked"] > 600_000
    age(store, DAY)
    second = answer(mooring, "repo", "prune")
    assert second["bytesDeleted"] == first["bytesMarked"]
    assert [row["backupId"] for row in answer(mooring, "backups")] == ["bk-2"]
    assert answer(mooring, "repo", "check", "--full")["healthy"]
    assert mooring("restore", "bk-2", str(tmp_path / "out"))[0] == 0
    assert (tmp_path / "out").read_bytes() == IMAGES["bk-2"]


def test_a_dry_run_says_what_and_why_and_changes_nothing(repo: Path, mooring: Run) -> None:
    before = stored(repo)
    code, out, _ = mooring("repo", "prune", "--dry-run", "--keep-daily", "1")
    assert code == 0
    for words in ("drop backup", "keep backup", "doom pack", "no rule keeps it", "daily 1 of 1"):
        assert words in out
    planned = answer(mooring, "repo", "prune", "--dry-run", "--keep-daily", "1")
    assert planned["dryRun"]
    assert planned["backupsDropped"] == 2
    assert [(row["backupId"], row["keep"]) for row in planned["retention"]] == [
        ("bk-2", True),
        ("bk-1", False),
        ("bk-0", False),
    ]
    assert stored(repo) == before
    done = answer(mooring, "repo", "prune", "--keep-daily", "1")
    assert done["bytesMarked"] == planned["bytesMarked"] > 0


def test_without_retention_no_backup_is_dropped(repo: Path, mooring: Run) -> None:
    done = answer(mooring, "repo", "prune")
    assert (done["backupsDropped"], done["retention"], done["bytesMarked"]) == (0, [], 0)
    assert len(answer(mooring, "backups")) == 3


def test_a_second_one_at_the_same_time_is_exit_code_10(
    repo: Path, mooring: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mooring.backup.lease.Lease.release", lambda _: None)  # as if killed
    assert mooring("repo", "prune")[0] == 0
    code, _, err = mooring("repo", "prune")
    assert code == 10
    assert "another garbage collection" in err
    assert "try: " in err


def test_a_store_without_conditional_writes_is_exit_code_5(
    repo: Path, mooring: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DirectoryBlobStore, "conditional_writes", lambda _: False)
    code, _, err = mooring("repo", "prune")
    assert (code, "--exclusive" in err) == (5, True)
    assert mooring("repo", "prune", "--exclusive")[0] == 0


def test_damage_is_exit_code_8_and_collects_nothing(repo: Path, mooring: Run) -> None:
    manifest = repo / "manifests" / "bk-1"
    data = bytearray(manifest.read_bytes())
    data[80] ^= 1
    manifest.write_bytes(data)
    code, _, err = mooring("repo", "prune", "--keep-last", "1")
    assert (code, "bk-1" in err) == (8, True)
    assert not (repo / "tombstones").exists()
    assert (repo / "manifests" / "bk-0").exists()


def test_a_lost_pack_is_exit_code_8_and_the_rest_is_done(repo: Path, mooring: Run) -> None:
    assert answer(mooring, "repo", "prune", "--keep-last", "2")["backupsDropped"] == 1
    largest = max((repo / "packs").rglob("*/*"), key=lambda path: path.stat().st_size)
    doomed = {path.name for path in (repo / "tombstones").iterdir()}
    lost = next(
        path
        for path in (repo / "packs").rglob("*/*")
        if path.name not in doomed and path.stat().st_size > largest.stat().st_size // 2
    )
    lost.unlink()
    code, out, err = mooring("repo", "prune", "-o", "json")
    assert (code, "1 backups cannot be restored whole" in err) == (8, True)
    assert "packs that are missing" in json.loads(out)["problems"][0]


def test_text_for_people(repo: Path, mooring: Run) -> None:
    code, out, _ = mooring("repo", "prune", "--keep-last", "1")
    assert code == 0
    assert "bytesMarked" in out
    assert "KiB" in out
