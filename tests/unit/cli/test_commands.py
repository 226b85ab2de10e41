"""The command line from arguments to exit code, with a real folder as repository."""

import json
import os
import random
import stat
from pathlib import Path
from typing import Any

import pytest

from mooring.domain import errors
from mooring_cli import exits, main, mover

IMAGE = random.Random(1).randbytes(300_000)


class Shell:
    """Runs `mooring` in this process, in a folder with an image, a repository and a key."""

    def __init__(
        self,
        folder: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        self.folder = folder
        self._capsys = capsys
        self._monkeypatch = monkeypatch
        self.image = folder / "image"
        self.image.write_bytes(IMAGE)
        monkeypatch.setenv("MOORING_REPOSITORY", str(folder / "repo"))
        monkeypatch.setenv("MOORING_KEY_FILE", str(folder / "key"))

    def run(self, *words: str | Path) -> tuple[int, str, str]:
        self._monkeypatch.setattr("sys.argv", ["mooring", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main.run()
        printed = self._capsys.readouterr()
        assert isinstance(end.value.code, int)
        return end.value.code, printed.out, printed.err

    def json(self, *words: str | Path) -> Any:
        code, out, err = self.run(*words, "-o", "json")
        assert code == 0, err
        return json.loads(out)

    def fails(self, *words: str | Path) -> tuple[int, str]:
        code, _, err = self.run(*words)
        return code, err


@pytest.fixture
def shell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Shell:
    shell = Shell(tmp_path, capsys, monkeypatch)
    shell.json("repo", "init")
    return shell


def test_the_round_trip(shell: Shell) -> None:
    made = shell.json("backup", shell.image, "--id", "bk-1")
    assert (made["bytesTotal"], made["parent"], made["existed"]) == (len(IMAGE), None, False)
    listed = shell.json("backups")
    assert [row["backupId"] for row in listed] == ["bk-1"]
    restored = shell.json("restore", "bk-1", shell.folder / "out", "--verify")
    assert restored["verified"]
    assert (shell.folder / "out").read_bytes() == IMAGE
    assert shell.json("repo", "check", "--full")["healthy"]
    info = shell.json("repo", "info")
    assert (info["backups"], info["format"]) == (1, 1)


def test_text_for_people(shell: Shell) -> None:
    code, out, _ = shell.run("backup", shell.image)
    assert code == 0
    assert "293.0 KiB" in out
    code, out, _ = shell.run("backups")
    assert code == 0
    assert "pointInTime" in out


def test_the_second_backup_sends_only_what_changed(shell: Shell) -> None:
    shell.json("backup", shell.image, "--id", "bk-1")
    shell.image.write_bytes(IMAGE[:-1] + b"x")
    made = shell.json("backup", shell.image, "--id", "bk-2")
    assert made["parent"] == "bk-1"
    assert 0 < made["bytesSent"] <= 65536
    whole = shell.json("backup", shell.image, "--id", "bk-3", "--parent", "none")
    assert whole["parent"] is None


def test_init_makes_a_key_that_only_its_owner_reads(shell: Shell) -> None:
    key = shell.folder / "key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert len(key.read_text().strip()) == 64


def test_init_keeps_what_is_there(shell: Shell) -> None:
    before = (shell.folder / "repo" / "config").read_bytes()
    code, err = shell.fails("repo", "init")
    assert code == 4
    assert "already" in err
    assert (shell.folder / "repo" / "config").read_bytes() == before


def test_a_passphrase_opens_it_as_well(shell: Shell) -> None:
    words = shell.folder / "words"
    words.write_text("correct horse\n")
    shell.json("repo", "init", "--repo", shell.folder / "two", "--passphrase-file", words)
    info = shell.json("repo", "info", "--repo", shell.folder / "two")
    assert info["keySlots"] == ["secret", "scrypt"]


def test_errors_name_cause_next_command_and_code(shell: Shell) -> None:
    other = shell.folder / "other-key"
    other.write_bytes(os.urandom(32))
    shell.json("backup", shell.image, "--id", "bk-1")
    out = shell.folder / "out"
    cases: list[tuple[int, str, tuple[str | Path, ...]]] = [
        (3, "no backup bk-9", ("restore", "bk-9", out)),
        (3, "there is no folder", ("backups", "--repo", shell.folder / "none")),
        (3, "no repository", ("backups", "--repo", shell.folder)),
        (3, "no key file", ("backups", "--key-file", shell.folder / "none")),
        (2, "holds no key", ("backups", "--key-file", shell.image)),
        (2, "DNS label", ("backup", shell.image, "--id", "../x")),
        (2, "power of two", ("repo", "init", "--chunk-size", "1000")),
        (4, "--force", ("restore", "bk-1", shell.image)),
        (6, "does not open", ("backups", "--key-file", other)),
        (3, "parent backup bk-7", ("backup", shell.image, "--parent", "bk-7")),
        (2, "No such command", ("frobnicate",)),
    ]
    for expected, text, words in cases:
        code, err = shell.fails(*words)
        assert (code, text in err) == (expected, True), (words, err)
        assert "Traceback" not in err
    assert not out.exists()
    code, err = shell.fails("backups", "--key-file", other)
    assert "try: " in err


@pytest.mark.parametrize(
    "words",
    [
        ("backup", "IMAGE", "--id", "a/b"),
        ("backup", "IMAGE", "--id", ".."),
        ("backup", "IMAGE", "--id", "x" * 64),
        ("backup", "IMAGE", "--id", "a\nb"),
        ("backup", "IMAGE", "--id", "é"),
        ("backup", "IMAGE", "--parent", "../../config"),
        ("backup", "IMAGE", "--volume", ""),
        ("backup", "IMAGE", "--volume", "x" * 100_000),
        ("backup", "FOLDER"),
        ("backup", "FOLDER/none"),
        ("backup", "FOLDER/empty"),
        ("backup", "/dev/null"),
        ("backup", "IMAGE", "--repo", "FOLDER/empty"),
        ("backup", "IMAGE", "--key-file", "FOLDER"),
        ("backup", "IMAGE", "--key-file", "FOLDER/empty"),
        ("restore", "../bk-1", "FOLDER/out"),
        ("restore", "", "FOLDER/out"),
        ("restore", "bk-1", "FOLDER"),
        ("restore", "bk-1", "FOLDER", "--force"),
        ("restore", "bk-1", "FOLDER/none/out"),
        ("restore", "bk-1", "FOLDER/" + "x" * 300),
        ("restore", "bk-1", "/dev/null", "--force"),
        ("repo", "check", "--backup", "../config"),
        ("repo", "check", "--backup", "bk-9"),
        ("repo", "prune", "--keep-last", "-1"),
        ("repo", "prune", "--keep-last", "9999999"),
        ("repo", "prune", "--keep-daily", "x"),
        ("repo", "prune", "--keep-daily", "1", "--time-zone", "Middle/Earth"),
        ("repo", "prune", "--keep-daily", "1", "--time-zone", "../../etc/passwd"),
        ("repo", "prune", "--keep-daily", "1", "--time-zone", ""),
        ("repo", "prune", "--max-rewrite", "much"),
        ("repo", "prune", "--max-duration", "soon"),
        ("repo", "init", "--chunk-size", "0"),
        ("repo", "init", "--chunk-size", "-65536"),
        ("repo", "init", "--chunk-size", "NaN"),
        ("repo", "init", "--chunk-size", "1e99"),
        ("repo", "init", "--chunk-size", "9" * 5000),
        ("repo", "init", "--chunk-size", "8Mi"),
        ("repo", "init", "--repo", "FOLDER/none/deeper"),
        ("repo", "init", "--repo", "FOLDER/two", "--passphrase-file", "FOLDER/empty"),
        ("repo", "init", "--repo", "FOLDER/two", "--passphrase-file", "FOLDER/none"),
        ("repo", "init", "--repo", "FOLDER/two", "--key-file", "FOLDER/none/key"),
        ("repo", "init", "--repo", "FOLDER/two", "--key-file", "FOLDER/empty"),
    ],
    ids=lambda words: " ".join(words)[:60].replace("\n", " "),
)
def test_bad_words_are_one_clear_line_and_change_nothing(
    shell: Shell, words: tuple[str, ...]
) -> None:
    shell.json("backup", shell.image, "--id", "bk-1")
    (shell.folder / "empty").touch()

    def content() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in shell.folder.rglob("*") if path.is_file()}

    before = content()
    given = [
        word.replace("IMAGE", str(shell.image)).replace("FOLDER", str(shell.folder))
        for word in words
    ]
    code, err = shell.fails(*given)
    assert code in range(2, 14), err
    assert "Traceback" not in err
    assert err.strip()
    assert content() == before


def test_a_damaged_repository_is_exit_code_8(shell: Shell) -> None:
    shell.json("backup", shell.image, "--id", "bk-1")
    pack = max((shell.folder / "repo" / "packs").rglob("*"), key=lambda path: path.stat().st_size)
    data = bytearray(pack.read_bytes())
    data[100] ^= 1
    pack.write_bytes(data)
    code, out, err = shell.run("repo", "check", "--full")
    assert code == 8
    assert "bk-1" in out
    assert "problems were found" in err
    assert shell.fails("restore", "bk-1", shell.folder / "out")[0] == 8
    assert not (shell.folder / "out").exists()


def test_a_name_that_is_no_text_is_backed_up_and_shown(shell: Shell) -> None:
    image = shell.folder / os.fsdecode(b"image-\xff\n")
    image.write_bytes(IMAGE)
    made = shell.json("backup", image, "--id", "bk-1")
    assert "image-\\xff" in made["volumeUid"]
    assert shell.json("restore", "bk-1", shell.folder / "out")["bytesTotal"] == len(IMAGE)
    assert shell.run("backups")[0] == 0


def leaves(kind: type[errors.MooringError]) -> list[type[errors.MooringError]]:
    below = kind.__subclasses__()
    return [kind, *(leaf for one in below for leaf in leaves(one))]


@pytest.mark.parametrize("kind", leaves(errors.MooringError))
def test_every_error_has_an_exit_code(kind: type[errors.MooringError]) -> None:
    assert exits.exit_code(kind("x")) in range(2, 14)


def test_direct_children_of_the_tree_have_codes_of_their_own() -> None:
    codes = [exits.exit_code(kind("x")) for kind in errors.MooringError.__subclasses__()]
    assert len(set(codes)) == len(codes)


def test_a_termination_message_always_fits() -> None:
    result = {"outcome": "Failed", "reason": "X", "message": "m" * 9000, "notes": ["n" * 9000]}
    text = mover.fit(result)
    assert len(text.encode()) <= 4096
    assert json.loads(text)["reason"] == "X"
    assert json.loads(mover.fit({**result, "extra": "e" * 9000})) == {
        "outcome": "Failed",
        "reason": "X",
    }
    assert json.loads(mover.fit({"outcome": "Failed", "message": "ü" * 1000, "reason": "X"}))


def test_a_limit_of_the_rate_is_checked_before_anything_else(shell: Shell) -> None:
    for words in ("0", "-1", "fast"):
        code, said = shell.fails("backup", shell.image, f"--limit-rate={words}")
        assert code == exits.exit_code(errors.InvalidInput(""))
        assert said
    assert shell.json("backup", shell.image, "--limit-rate", "10Gi")["bytesRead"] == len(IMAGE)
