"""What a device of another driver tells of its volume; one that is no whole image is refused."""

import os
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.backup import device_facts, devices, mover_spec, superblocks
from mooring.domain import backups, errors

MIB = 1 << 20
UUID = bytes(range(16))
TEXT = "00010203-0405-0607-0809-0a0b0c0d0e0f"


def ext4(blocks: int, *, block_size_log: int = 2, wide: bool = True) -> bytes:
    head = bytearray(superblocks.HEAD_BYTES)
    head[1024 + 56 : 1024 + 58] = b"\x53\xef"
    head[1024 + 4 : 1024 + 8] = (blocks & 0xFFFFFFFF).to_bytes(4, "little")
    head[1024 + 24 : 1024 + 28] = block_size_log.to_bytes(4, "little")
    head[1024 + 96 : 1024 + 100] = (0x80 if wide else 0).to_bytes(4, "little")
    head[1024 + 336 : 1024 + 340] = (blocks >> 32).to_bytes(4, "little")
    head[1024 + 104 : 1024 + 120] = UUID
    return bytes(head)


def xfs(blocks: int, sector_bytes: int = 512) -> bytes:
    head = bytearray(superblocks.HEAD_BYTES)
    head[:8] = b"XFSB" + (4096).to_bytes(4, "big")
    head[8:16] = blocks.to_bytes(8, "big")
    head[32:48] = UUID
    head[102:104] = sector_bytes.to_bytes(2, "big")
    return bytes(head)


def btrfs(size_bytes: int) -> bytes:
    head = bytearray(superblocks.HEAD_BYTES)
    head[65536 + 64 : 65536 + 72] = b"_BHRfS_M"
    head[65536 + 32 : 65536 + 48] = UUID
    head[65536 + 112 : 65536 + 120] = size_bytes.to_bytes(8, "little")
    head[65536 + 144 : 65536 + 148] = (4096).to_bytes(4, "little")
    return bytes(head)


@pytest.mark.parametrize(
    ("head", "wanted"),
    [
        (ext4(1 << 33), ("ext4", 1 << 45, 4096)),
        (ext4(1 << 33 | 5, wide=False), ("ext4", 5 * 4096, 4096)),
        (ext4(100, block_size_log=0), ("ext4", 100 * 1024, 1024)),
        (ext4(100, block_size_log=4), ("ext4", 100 * 16384, 4096)),
        (xfs(1000), ("xfs", 4096000, 512)),
        (xfs(1000, 4096), ("xfs", 4096000, 4096)),
        (btrfs(123 * MIB), ("btrfs", 123 * MIB, 4096)),
    ],
)
def test_superblocks_are_read(head: bytes, wanted: tuple[str, int, int]) -> None:
    found = superblocks.read(head)
    assert found is not None
    assert (found.filesystem, found.size_bytes, found.sector_size_bytes) == wanted
    assert found.uuid == TEXT


@given(
    st.one_of(
        st.binary(max_size=2048),
        st.builds(
            lambda head, start, piece: head[:start] + piece + head[start + len(piece) :],
            st.sampled_from([ext4(9), xfs(9), btrfs(9)]),
            st.integers(0, superblocks.HEAD_BYTES),
            st.binary(max_size=64),
        ),
        st.builds(lambda head, end: head[:end], st.sampled_from([ext4(9), xfs(9), btrfs(9)]),
                  st.integers(0, superblocks.HEAD_BYTES)),
    )
)  # fmt: skip
def test_any_bytes_are_a_superblock_or_none(head: bytes) -> None:
    found = superblocks.read(head)
    assert found is None or (found.size_bytes >= 0 and found.sector_size_bytes <= 4096)


def facts(
    tmp_path: Path, head: bytes, mode: Literal["Filesystem", "Block"], size_bytes: int = MIB
) -> backups.VolumeFacts:
    path = tmp_path / "device"
    path.write_bytes(head[:size_bytes])
    with path.open("r+b") as file:
        file.truncate(size_bytes)
    with devices.VolumeSource(path) as source:
        return device_facts.read(mover_spec.VolumeSpec(uid="pv-1", foreign_mode=mode), source)


def test_a_foreign_volume_is_what_its_device_says(tmp_path: Path) -> None:
    found = facts(tmp_path, xfs(256), "Filesystem")
    assert found == backups.VolumeFacts("pv-1", MIB, 512, "xfs", TEXT)


def test_a_block_volume_is_backed_up_whatever_it_holds(tmp_path: Path) -> None:
    found = facts(tmp_path, ext4(1 << 30), "Block")
    assert found == backups.VolumeFacts("pv-1", MIB, 512, None, None)


@pytest.mark.parametrize(
    "content", [b"\x1f\x8b\x08\0archive of files", b"LUKS\xba\xbe", bytes(4096), b"hsqs"]
)
def test_what_is_no_image_of_a_filesystem_is_refused(tmp_path: Path, content: bytes) -> None:
    """As csi-driver-host-path does it: the block volume is the archive, and it says success."""
    with pytest.raises(errors.Unsupported, match="keeps folders, not images"):
        facts(tmp_path, content, "Filesystem")


@pytest.mark.parametrize("head", [ext4(257), xfs(257), btrfs(MIB + 1)])
def test_a_filesystem_that_is_cut_off_is_refused(tmp_path: Path, head: bytes) -> None:
    with pytest.raises(errors.DataCorrupt, match="it is not whole"):
        facts(tmp_path, head, "Filesystem")


def test_a_device_of_another_group_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refused)
    repository = mover_spec.RepositorySpec(path=tmp_path, key_file=tmp_path / "key")
    for mode, text in {"Filesystem": "MOORING_DEVICE_GROUP_IDS", None: "may not be opened"}.items():
        volume = mover_spec.VolumeSpec.model_validate({"uid": "pv-1", "foreignMode": mode})
        spec = mover_spec.BackupSpec(repository=repository, backup_id="one", volume=volume)
        with pytest.raises(errors.PermissionDenied, match=text):
            device_facts.open_source(spec)
