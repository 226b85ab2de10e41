"""`mooring mover`: spec in; progress, termination message and exit code out."""

import json
import random
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from mooring.backup import mover as engine_mover
from mooring.backup import mover_spec
from mooring.backup.format import recovery_keys
from mooring.domain import errors
from mooring.planning import listed_backups
from mooring_cli import compose, main

IMAGE = random.Random(1).randbytes(300_000)


class Mover:
    """Runs one mover command after the other on a folder."""

    def __init__(
        self,
        folder: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        self.folder = folder
        self._capsys = capsys
        self._monkeypatch = monkeypatch
        (folder / "repo").mkdir()
        (folder / "key").write_bytes(bytes(range(32)))
        (folder / "image").write_bytes(IMAGE)
        (folder / "out").touch()
        self.log: list[dict[str, Any]] = []

    def spec(self, **fields: Any) -> dict[str, Any]:
        repository = {
            "type": "directory",
            "path": str(self.folder / "repo"),
            "keyFile": str(self.folder / "key"),
            **fields.pop("repository", {}),
        }
        message_path = str(self.folder / "termination-log")
        return {"repository": repository, "terminationMessagePath": message_path, **fields}

    def run(self, command: str, spec: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        path = self.folder / "mover.json"
        path.write_text(json.dumps(spec))
        self._monkeypatch.setattr("sys.argv", ["mooring", "mover", command, "--spec", str(path)])
        with pytest.raises(SystemExit) as end:
            main.run()
        out = self._capsys.readouterr().out
        self.log = [json.loads(line) for line in out.splitlines()]
        assert isinstance(end.value.code, int)
        return end.value.code, json.loads((self.folder / "termination-log").read_text())

    def probe(self, **fields: Any) -> dict[str, Any]:
        code, message = self.run("probe", self.spec(repository={"initialize": True}, **fields))
        assert code == 0, message
        return message

    def backup_spec(self, **fields: Any) -> dict[str, Any]:
        return self.spec(
            **{
                "device": str(self.folder / "image"),
                "backupId": "bk-1",
                "volume": {"uid": "volume-1"},
                **fields,
            }
        )

    def restore_spec(self, **fields: Any) -> dict[str, Any]:
        return self.spec(**{"device": str(self.folder / "out"), "backupId": "bk-1", **fields})


@pytest.fixture
def mover(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Mover:
    return Mover(tmp_path, capsys, monkeypatch)


def test_the_whole_life(mover: Mover) -> None:
    probed = mover.probe()
    assert probed["created"]
    code, made = mover.run(
        "backup",
        mover.backup_spec(
            consistency="Filesystem",
            pointInTime="2026-01-01T00:00:00Z",
            documents={"storageClass": {"x": 1}},
        ),
    )
    assert (code, made["outcome"], made["bytesTotal"]) == (0, "Succeeded", len(IMAGE))
    assert made["consistency"] == "Filesystem"
    assert made["repositoryId"] == probed["repositoryId"]
    lines = [line for line in mover.log if line["event"] == "progress"]
    assert lines[-1]["percent"] == 100.0
    wanted = {"bytesTotal", "bytesRead", "bytesSent", "bytesStored", "percent"}
    assert wanted <= lines[-1].keys()
    code, restored = mover.run("restore", mover.restore_spec(verify=True))
    assert (code, restored["outcome"], restored["verified"]) == (0, "Succeeded", True)
    assert (mover.folder / "out").read_bytes() == IMAGE
    code, _ = mover.run("forget", mover.spec(backupId="bk-1"))
    assert code == 0
    code, _ = mover.run("forget", mover.spec(backupId="bk-1"))
    assert code == 0
    assert mover.probe()["backups"] == 0


def test_a_probe_makes_a_repository_once(mover: Mover) -> None:
    first, second = mover.probe(), mover.probe()
    assert (first["created"], second["created"]) == (True, False)
    assert first["repositoryId"] == second["repositoryId"]
    assert sorted(path.name for path in (mover.folder / "repo").iterdir()) == [
        ".lock",
        ".uploads",
        "config",
        "probes",
    ]


def test_every_command_refuses_another_repository_than_is_meant(mover: Mover) -> None:
    (mover.folder / "out").touch()
    mover.probe()
    assert mover.run("backup", mover.backup_spec())[0] == 0
    before = sorted((mover.folder / "repo").rglob("*"))
    meant = {"repository": {"repositoryId": "e" * 32, "initialize": True}}
    for role, spec in (
        ("probe", mover.spec(**meant)),
        ("backup", mover.backup_spec(backupId="bk-2", **meant)),
        ("restore", mover.restore_spec(**meant)),
        ("forget", mover.spec(backupId="bk-1", **meant)),
        ("prune", mover.spec(**meant)),
        ("check", mover.spec(**meant)),
        ("list", mover.spec(namespace="shop", **meant)),
    ):
        code, message = mover.run(role, spec)
        assert (code, message["reason"]) == (5, "AnotherRepository"), role
        assert "e" * 32 in message["message"]
    assert sorted((mover.folder / "repo").rglob("*")) == before


def test_a_repository_that_was_there_is_not_made_anew(mover: Mover) -> None:
    known = mover.probe()["repositoryId"]
    shutil.rmtree(mover.folder / "repo")
    (mover.folder / "repo").mkdir()
    spec = mover.spec(repository={"initialize": True, "repositoryId": known})
    code, message = mover.run("probe", spec)
    assert (code, f"where {known} was" in message["message"]) == (3, True)
    assert list((mover.folder / "repo").iterdir()) == []


def test_a_probe_adds_recovery_slots_once_and_says_what_there_is(mover: Mover) -> None:
    public = recovery_keys.public_of(b"r" * 32)
    wanted = {"recoveryKeys": [recovery_keys.format_public(public)]}
    shown = [f"x25519:{recovery_keys.fingerprint(public)}"]
    assert mover.probe()["recoverySlots"] == []
    for _ in range(2):
        assert mover.probe(**wanted)["recoverySlots"] == shown
    assert len(list((mover.folder / "repo" / "keys").iterdir())) == 1
    assert (mover.probe()["recoverySlots"], mover.probe()["openedWith"]) == (shown, "cluster")
    (mover.folder / "key").write_text(recovery_keys.identity_file(b"r" * 32, "today"))
    assert mover.probe()["openedWith"] == "recovery"


def test_a_recovery_key_with_a_typing_error_makes_nothing(mover: Mover) -> None:
    wrong = recovery_keys.format_public(recovery_keys.public_of(b"r" * 32))[:-1] + "2"
    spec = mover.spec(recoveryKeys=[wrong], repository={"initialize": True})
    code, message = mover.run("probe", spec)
    assert (code, message["reason"]) == (2, "InvalidInput")
    assert list((mover.folder / "repo").iterdir()) == []


def test_a_page_of_backups_goes_to_the_log_and_its_digest_into_the_answer(mover: Mover) -> None:
    mover.probe()
    for number in range(3):
        claim = {"metadata": {"name": "data", "namespace": "shop"}, "spec": {}}
        spec = mover.backup_spec(
            backupId=f"bk-{number}", documents={"persistentVolumeClaim": claim}
        )
        assert mover.run("backup", spec)[0] == 0
    code, said = mover.run("list", mover.spec(namespace="shop", limit=2))
    entries = [line["entry"] for line in mover.log if line["event"] == "backup"]
    assert [entry["backupId"] for entry in entries] == ["bk-0", "bk-1"]
    assert (code, said["digest"]) == (0, listed_backups.digest(entries))
    assert (said["listed"], said["nextAfter"]) == (2, "bk-1")
    _, said = mover.run("list", mover.spec(namespace="shop", after="bk-1"))
    assert (said["listed"], said["nextAfter"]) == (1, None)
    _, said = mover.run("list", mover.spec(namespace="bank"))
    assert (said["listed"], said["skipped"]) == (0, 3)


def test_sixteen_recovery_keys_fit_into_the_answer(mover: Mover) -> None:
    keys = [bytes([number]) * 32 for number in range(1, 17)]
    public = [recovery_keys.format_public(recovery_keys.public_of(key)) for key in keys]
    assert len(mover.probe(recoveryKeys=public)["recoverySlots"]) == 16


def test_a_probe_makes_nothing_unasked(mover: Mover) -> None:
    code, message = mover.run("probe", mover.spec())
    assert (code, message["reason"]) == (3, "NotFound")
    assert list((mover.folder / "repo").iterdir()) == []


def test_racing_probes_make_one_repository(mover: Mover) -> None:
    spec = mover_spec.ProbeSpec.model_validate(mover.spec(repository={"initialize": True}))
    start = threading.Barrier(6)
    found: list[str] = []

    def probe() -> None:
        store = compose.open_store(str(mover.folder / "repo"))
        start.wait()
        found.append(engine_mover.probe(spec, store, compose.surroundings())["repositoryId"])

    threads = [threading.Thread(target=probe) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1


def test_a_backup_that_exists_is_success(mover: Mover) -> None:
    mover.probe()
    mover.run("backup", mover.backup_spec())
    (mover.folder / "image").write_bytes(bytes(10))
    code, message = mover.run("backup", mover.backup_spec())
    assert (code, message["existed"]) == (0, True)


@pytest.mark.parametrize(
    ("change", "code", "reason"),
    [
        ({"repository": {"path": "/nowhere/at/all"}}, 3, "NotFound"),
        ({"repository": {"keyFile": "/nowhere"}}, 3, "NotFound"),
        ({"repository": {"type": "tape"}}, 2, "InvalidInput"),
        ({"device": "/nowhere"}, 3, "NotFound"),
        ({"volume": {"uid": "v", "sizeBytes": 5}}, 5, "PreconditionFailed"),
        ({"volume": {"uid": "v", "sizeBytes": -5}}, 2, "InvalidInput"),
        ({"volume": {"uid": "v", "sizeBytes": 10**30}}, 2, "InvalidInput"),
        ({"volume": {"uid": ""}}, 2, "InvalidInput"),
        ({"volume": None}, 2, "InvalidInput"),
        ({"backupId": "../../etc"}, 2, "InvalidInput"),
        ({"backupId": None}, 2, "InvalidInput"),
        ({"parent": "../x"}, 2, "InvalidInput"),
        ({"parent": "bk-0"}, 3, "NotFound"),
        ({"chunkSizeBytes": 1000}, 2, "InvalidInput"),
        ({"consistency": "Perfect"}, 2, "InvalidInput"),
        ({"unheardOf": 1}, 2, "InvalidInput"),
    ],
)
def test_bad_specs(mover: Mover, change: dict[str, Any], code: int, reason: str) -> None:
    mover.probe()
    # A spec that cannot be read does not say where the message goes: the log has it.
    (mover.folder / "termination-log").write_text("{}")
    ended, _ = mover.run("backup", mover.backup_spec(**change))
    assert ended == code
    result = mover.log[-1]
    assert (result["outcome"], result["reason"]) == ("Failed", reason)
    assert result["message"]
    assert not (mover.folder / "repo" / "manifests").exists()


def test_a_wrong_key_is_told(mover: Mover) -> None:
    mover.probe()
    (mover.folder / "key").write_bytes(b"x" * 32)
    for command, spec in (
        ("probe", mover.spec(repository={"initialize": True})),
        ("backup", mover.backup_spec()),
        ("restore", mover.restore_spec()),
        ("forget", mover.spec(backupId="bk-1")),
    ):
        code, message = mover.run(command, spec)
        assert (code, message["reason"]) == (6, "WrongKey")
        assert "xxxx" not in json.dumps(mover.log)


def test_a_missing_backup_or_device_is_told(mover: Mover) -> None:
    mover.probe()
    mover.run("backup", mover.backup_spec())
    nowhere = str(mover.folder / "nowhere")
    for change in ({"backupId": "bk-2"}, {"device": nowhere}):
        code, message = mover.run("restore", mover.restore_spec(**change))
        assert (code, message["reason"]) == (3, "NotFound")
    assert (mover.folder / "out").read_bytes() == b""
    assert not list(mover.folder.glob("nowhere*"))


def test_documents_that_are_too_large_are_refused(mover: Mover) -> None:
    mover.probe()
    huge = {"persistentVolumeClaim": {"metadata": "x" * (5 << 20)}}
    code, message = mover.run("backup", mover.backup_spec(documents=huge))
    assert (code, message["reason"]) == (2, "InvalidInput")


def test_a_bug_is_told_too(mover: Mover, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("unexpected")

    monkeypatch.setattr(engine_mover, "probe", broken)
    code, message = mover.run("probe", mover.spec())
    assert (code, message["reason"]) == (1, "Bug")
    assert any("RuntimeError" in line.get("traceback", "") for line in mover.log)


def test_yaml_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "spec"
    path.write_text("repository: {path: /r, keyFile: /k}\nbackupId: bk-1\n")
    assert mover_spec.read_spec(path, mover_spec.ForgetSpec).backup_id == "bk-1"


@pytest.mark.parametrize("text", ["", "[1]", "{", "a: b: c", "repository: 7", "\x00"])
def test_files_that_are_no_spec(tmp_path: Path, text: str) -> None:
    path = tmp_path / "spec"
    path.write_text(text)
    with pytest.raises(errors.InvalidInput, match="spec"):
        mover_spec.read_spec(path, mover_spec.ForgetSpec)
    with pytest.raises(errors.InvalidInput):
        mover_spec.read_spec(tmp_path / "missing", mover_spec.ForgetSpec)


def test_prune_says_what_is_held_and_check_what_was_looked_at(mover: Mover) -> None:
    mover.probe()
    assert mover.run("backup", mover.backup_spec())[0] == 0
    code, pruned = mover.run("prune", mover.spec(maximumDurationSeconds=60))
    packs = [path for path in (mover.folder / "repo" / "packs").rglob("*/*") if path.is_file()]
    assert code == 0, pruned
    assert pruned["bytesHeld"] == sum(path.stat().st_size for path in packs)
    assert (pruned["bytesDeleted"], pruned["bytesMarked"]) == (0, 0)
    code, checked = mover.run("check", mover.spec(parts=1))
    assert (code, checked["backups"]) == (0, 1)
    assert checked["bytesRead"] > 0
    assert mover.run("check", mover.spec())[1]["bytesRead"] == 0


def test_a_check_that_finds_damage_fails_for_good_and_names_it(mover: Mover) -> None:
    mover.probe()
    mover.run("backup", mover.backup_spec())
    packs = [path for path in (mover.folder / "repo" / "packs").rglob("*/*") if path.is_file()]
    pack = max(packs, key=lambda path: path.stat().st_size)
    data = bytearray(pack.read_bytes())
    data[70_000] ^= 1
    pack.write_bytes(data)
    code, message = mover.run("check", mover.spec(parts=1))
    assert (code, message["reason"]) == (8, "DataCorrupt")
    assert "problems were found" in message["message"]
    assert "bk-1" in message["message"]
