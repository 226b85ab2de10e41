"""`mooring keygen` and `mooring repo keys`, from words to files and exit codes."""

import json
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., tuple[int, str, str]]


class Keeper:
    """Somebody with a repository, a key file and a recovery key."""

    def __init__(self, folder: Path, mooring: Run) -> None:
        self.folder = folder
        self._mooring = mooring
        self.json("repo", "init")
        self.public = self.json("keygen", folder / "recovery")["publicKey"]

    def run(self, *words: str | Path) -> tuple[int, str, str]:
        return self._mooring(*map(str, words))

    def json(self, *words: str | Path) -> Any:
        code, out, err = self.run(*words, "-o", "json")
        assert code == 0, err
        return json.loads(out)

    def slots(self, *words: str | Path) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.json("repo", "keys", "list", *words)
        return found


@pytest.fixture
def keeper(tmp_path: Path, mooring: Run, monkeypatch: pytest.MonkeyPatch) -> Keeper:
    monkeypatch.setenv("MOORING_REPOSITORY", str(tmp_path / "repo"))
    monkeypatch.setenv("MOORING_KEY_FILE", str(tmp_path / "key"))
    return Keeper(tmp_path, mooring)


def test_keygen_makes_a_file_once_that_only_its_owner_reads(keeper: Keeper) -> None:
    file = keeper.folder / "recovery"
    before = file.read_bytes()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert f"# public key: {keeper.public}" in before.decode()
    code, _, err = keeper.run("keygen", file)
    assert (code, "exists" in err) == (4, True)
    assert file.read_bytes() == before
    assert keeper.run("keygen", keeper.folder / "none" / "file")[0] == 6


def test_a_recovery_key_opens_it_after_the_key_file_is_lost(keeper: Keeper) -> None:
    image = keeper.folder / "image"
    image.write_bytes(b"content" * 1000)
    keeper.json("backup", image, "--id", "bk-1")
    keeper.json("repo", "keys", "add", "--recovery-key", keeper.public, "--label", "safe")
    (keeper.folder / "key").unlink()
    recovery = ("--key-file", keeper.folder / "recovery")
    keeper.json("restore", "bk-1", keeper.folder / "out", *recovery)
    assert (keeper.folder / "out").read_bytes() == image.read_bytes()
    keeper.json("repo", "keys", "add", "--new-key-file", keeper.folder / "key", *recovery)
    assert [row["backupId"] for row in keeper.json("backups")] == ["bk-1"]
    assert stat.S_IMODE((keeper.folder / "key").stat().st_mode) == 0o600


def test_the_list_says_what_there_is(keeper: Keeper) -> None:
    _, _, err = keeper.run("repo", "keys", "list")
    assert "nothing for recovery" in err
    keeper.json("repo", "keys", "add", "--recovery-key", keeper.public, "--label", "safe")
    (own, recovery) = keeper.slots()
    assert (own["type"], own["purpose"], own["state"]) == ("secret", "cluster", "opened it now")
    assert (recovery["type"], recovery["purpose"]) == ("x25519", "recovery")
    assert (recovery["label"], recovery["state"]) == ("safe", "proven")
    code, out, err = keeper.run("repo", "keys", "list")
    assert (code, err) == (0, "")
    assert recovery["fingerprint"] in out


def test_rotation_keeps_the_old_key_until_told_otherwise(keeper: Keeper) -> None:
    config = (keeper.folder / "repo" / "config").read_bytes()
    new = keeper.folder / "new-key"
    said = keeper.json("repo", "keys", "rotate", "--new-key-file", new)
    assert not said["oldRemoved"]
    assert f"mooring repo keys remove {said['old']}" in said["next"]
    assert len(keeper.slots()) == 2
    keeper.json("repo", "keys", "remove", said["old"], "--key-file", new)
    code, _, err = keeper.run("backups")
    assert (code, "was removed" in err) == (6, True)
    newest = keeper.folder / "newest-key"
    said = keeper.json(
        "repo", "keys", "rotate", "--new-key-file", newest, "--remove-old", "--key-file", new
    )
    assert said["oldRemoved"]
    assert keeper.run("backups", "--key-file", new)[0] == 6
    assert [slot["state"] for slot in keeper.slots("--key-file", newest)] == ["opened it now"]
    assert (keeper.folder / "repo" / "config").read_bytes() == config


def test_the_last_recovery_slot_goes_only_with_a_word(keeper: Keeper) -> None:
    slot = keeper.json("repo", "keys", "add", "--recovery-key", keeper.public)["slot"]
    code, _, err = keeper.run("repo", "keys", "remove", slot)
    assert (code, "--last-recovery" in err) == (5, True)
    assert len(keeper.slots()) == 2
    keeper.json("repo", "keys", "remove", slot, "--last-recovery")
    assert len(keeper.slots()) == 1


def test_the_key_in_use_is_not_removed(keeper: Keeper) -> None:
    code, _, err = keeper.run("repo", "keys", "remove", keeper.slots()[0]["slot"])
    assert (code, "opened the repository now" in err) == (5, True)


class Terminal:
    """Standard input that is a terminal, with somebody who types without seeing it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *typed: str) -> None:
        self.prompts: list[str] = []
        answers = iter(typed)

        def ask(prompt: str) -> str:
            self.prompts.append(prompt)
            return next(answers)

        monkeypatch.setattr("getpass.getpass", ask)
        monkeypatch.setattr(sys.stdin, "isatty", lambda: True)


def test_a_passphrase_is_asked_for_twice_and_opens(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal(monkeypatch, "correct horse", "correct horse", "correct horse")
    added = keeper.json("repo", "keys", "add", "--passphrase")
    assert (added["type"], added["purpose"]) == ("scrypt", "recovery")
    assert len(terminal.prompts) == 2
    assert keeper.json("repo", "info", "--key-file", "-")["backups"] == 0


@pytest.mark.parametrize(
    ("typed", "words"),
    [(("correct horse", "correct hose"), "differ"), (("short", "short"), "at least 8")],
)
def test_a_passphrase_with_a_slip_changes_nothing(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch, typed: tuple[str, ...], words: str
) -> None:
    Terminal(monkeypatch, *typed)
    code, _, err = keeper.run("repo", "keys", "add", "--passphrase")
    assert (code, words in err) == (2, True)
    assert len(keeper.slots()) == 1


@pytest.mark.parametrize(
    "words",
    [
        ("add",),
        ("add", "--recovery-key", "mooring-recovery-x"),
        ("add", "--recovery-key", "x", "--passphrase"),
        ("add", "--passphrase-file", "FOLDER/none"),
        ("add", "--new-key-file", "FOLDER/none/key"),
        ("remove", "zz"),
        ("remove", ""),
        ("rotate",),
        ("rotate", "--new-key-file", "FOLDER/none/key"),
        ("list", "--key-file", "FOLDER/recovery"),
        ("list", "--key-file", "FOLDER/none"),
    ],
    ids=" ".join,
)
def test_bad_words_are_one_clear_line_and_change_nothing(
    keeper: Keeper, words: tuple[str, ...]
) -> None:
    def content() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in keeper.folder.rglob("*") if path.is_file()}

    before = content()
    given = [word.replace("FOLDER", str(keeper.folder)) for word in words]
    code, _, err = keeper.run("repo", "keys", *given)
    assert code in range(2, 14), err
    assert "Traceback" not in err
    assert err.strip()
    assert content() == before
