"""The wire: equal to the official module's, and its stubs equal to what the sources generate."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from mooring_dev import toolchain

ROOT = Path(__file__).parents[3]
MODULE = "github.com/container-storage-interface/spec@v1.12.0"
FOLDERS = ("csi/mooring_csi/_generated", "engine/mooring/agent/_generated")

# In a process of its own: a second file of the same package cannot be registered in this one.
COMPARISON = textwrap.dedent(
    """
    import sys
    from google.protobuf import descriptor_pb2

    def load(path):
        with open(path, "rb") as file:
            found = descriptor_pb2.FileDescriptorSet.FromString(file.read()).file[-1]
        found.name = ""
        found.options.ClearField("go_package")
        return found

    ours, theirs = load(sys.argv[1]), load(sys.argv[2])
    assert theirs.package == "csi.v1" and len(theirs.service) == 5
    sys.exit(0 if ours.SerializeToString(deterministic=True)
             == theirs.SerializeToString(deterministic=True) else 1)
    """
)


def describe(folder: Path, target: Path) -> Path:
    subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc", "-I", str(folder)),
            *(f"--descriptor_set_out={target}", "csi.proto"),
        ],
        check=True,
    )
    return target


def official_folder(tmp_path: Path) -> Path:
    done = subprocess.run(
        [toolchain.go_program(), "mod", "download", "-json", MODULE],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    return Path(json.loads(done.stdout)["Dir"])


def compare(ours: Path, theirs: Path) -> int:
    return subprocess.run([sys.executable, "-c", COMPARISON, ours, theirs], check=False).returncode


@pytest.fixture
def official(tmp_path: Path) -> Path:
    return describe(official_folder(tmp_path), tmp_path / "theirs.pb")


def test_the_wire_is_the_official_one(tmp_path: Path, official: Path) -> None:
    ours = describe(ROOT / "csi" / "proto", tmp_path / "ours.pb")
    assert compare(ours, official) == 0


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("string volume_id = 2;", "string volume_id = 22;"),
        (" [(alpha_enum_value) = true]", ""),
        (" [(csi_secret) = true]", ""),
    ],
)
def test_the_comparison_sees_a_difference(
    tmp_path: Path, official: Path, before: str, after: str
) -> None:
    text = (ROOT / "csi" / "proto" / "csi.proto").read_text()
    assert before in text
    (tmp_path / "csi.proto").write_text(text.replace(before, after, 1))
    assert compare(describe(tmp_path, tmp_path / "changed.pb"), official) == 1


def test_stubs_match_their_sources(tmp_path: Path) -> None:
    subprocess.run([ROOT / "csi/proto/generate.sh", sys.executable, tmp_path], check=True)
    for folder in FOLDERS:
        made = {path.name: path.read_bytes() for path in (tmp_path / folder).glob("*.py*")}
        kept = {path.name: path.read_bytes() for path in (ROOT / folder).glob("*.py*")}
        assert made == kept, f"{folder} differs: run make generate"
