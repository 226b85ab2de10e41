"""`mooring repo check` and `mooring repo repair` from arguments to exit code."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., tuple[int, str, str]]
IMAGE = random.Random(1).randbytes(300_000)


@pytest.fixture
def repo(tmp_path: Path, mooring: Run, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one backup, one chunk of which is damaged."""
    monkeypatch.setenv("MOORING_REPOSITORY", str(tmp_path / "repo"))
    monkeypatch.setenv("MOORING_KEY_FILE", str(tmp_path / "key"))
    assert mooring("repo", "init")[0] == 0
    (tmp_path / "image").write_bytes(IMAGE)
    assert mooring("backup", str(tmp_path / "image"), "--id", "bk-1")[0] == 0
    pack = largest_pack(tmp_path / "repo")
    data = bytearray(pack.read_bytes())
    data[70_000] ^= 1
    pack.write_bytes(data)
    return tmp_path / "repo"


def largest_pack(repo: Path) -> Path:
    return max((repo / "packs").rglob("*/*"), key=lambda path: path.stat().st_size)


def answer(mooring: Run, *words: str) -> tuple[int, Any]:
    code, out, _ = mooring(*words, "-o", "json")
    return code, json.loads(out)


def test_a_share_reads_its_part_and_no_other(repo: Path, mooring: Run) -> None:
    part = int(largest_pack(repo).name[:8], 16) % 4
    code, found = answer(mooring, "repo", "check", "--share", "4", "--part", str(part))
    assert code == 8
    assert "damaged at byte 65536" in found["problems"][0]
    assert answer(mooring, "repo", "check", "--share", "4", "--part", str((part + 1) % 4))[0] == 0
    assert answer(mooring, "repo", "check")[0] == 0
    codes = {answer(mooring, "repo", "check", "--share", "1")[0]}
    assert codes == {8}


def test_a_repair_says_what_is_lost_and_the_next_backup_brings_it_back(
    repo: Path, mooring: Run, tmp_path: Path
) -> None:
    code, done = answer(mooring, "repo", "repair", "--full")
    assert (code, done["chunksLost"], done["chunksSaved"]) == (8, 1, 4)
    assert "bk-1: volume file:" in done["damagedBackups"][0]
    assert [row["problem"] for row in answer(mooring, "backups")[1]] == ["something of it is lost"]
    code, made = answer(mooring, "backup", str(tmp_path / "image"), "--id", "bk-2")
    assert (code, made["parent"], made["bytesSent"]) == (0, None, 65536)
    assert answer(mooring, "repo", "repair", "--full")[0] == 0
    assert answer(mooring, "repo", "check", "--full") == (
        0,
        {
            "healthy": True,
            "backups": 2,
            "chunks": 5,
            "bytesRead": answer(mooring, "repo", "check", "--full")[1]["bytesRead"],
            "problems": [],
            "problemCount": 0,
        },
    )
    assert mooring("restore", "bk-1", str(tmp_path / "out"))[0] == 0
    assert (tmp_path / "out").read_bytes() == IMAGE


def test_only_the_explicit_word_drops_a_damaged_backup(repo: Path, mooring: Run) -> None:
    assert mooring("repo", "repair", "--full")[0] == 8
    assert (repo / "manifests" / "bk-1").exists()
    code, done = answer(mooring, "repo", "repair", "--drop-damaged")
    assert (code, done["droppedBackups"]) == (0, ["bk-1"])
    assert answer(mooring, "backups") == (0, [])


@pytest.mark.parametrize(
    "words",
    [
        ("check", "--share", "0"),
        ("check", "--share", "4", "--part", "4"),
        ("check", "--part", "1"),
        ("check", "--share", "4", "--backup", "bk-1"),
    ],
    ids=" ".join,
)
def test_a_share_that_cannot_be_is_exit_code_2(
    repo: Path, mooring: Run, words: tuple[str, ...]
) -> None:
    code, _, err = mooring("repo", *words)
    assert code == 2
    assert "Traceback" not in err
