"""What the agent expects an ext4 to grow to is what `resize2fs` makes of it."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mooring.adapters.host import ext4_devices

MIB = 1 << 20
KIB = 1 << 10

pytestmark = pytest.mark.system


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True)


@settings(max_examples=25, deadline=None)
@given(
    before_mib=st.integers(16, 1200),
    grown_kib=st.one_of(st.integers(0, 24 * KIB), st.integers(0, 600 * KIB)),
    block_bytes=st.sampled_from((1024, 4096)),
)
@example(before_mib=256, grown_kib=1 * KIB, block_bytes=4096)
@example(before_mib=256, grown_kib=129 * KIB, block_bytes=4096)
@example(before_mib=512, grown_kib=3 * KIB, block_bytes=4096)
def test_it_grows_as_far_as_expected(
    tmp_path_factory: pytest.TempPathFactory, before_mib: int, grown_kib: int, block_bytes: int
) -> None:
    image: Path = tmp_path_factory.mktemp("ext4") / "image"
    with image.open("wb") as file:
        file.truncate(before_mib * MIB)
        _run("mkfs.ext4", "-F", "-q", "-b", str(block_bytes), "-E", "nodiscard", str(image))
        file.truncate(before_mib * MIB + grown_kib * KIB)
    superblock, device_blocks = ext4_devices.read(image)
    expected, could_grow = superblock.blocks_on(device_blocks), not ext4_devices.fills(image)
    _run("e2fsck", "-f", "-p", str(image))
    _run("resize2fs", str(image))
    after, _ = ext4_devices.read(image)
    image.unlink()
    assert after.blocks == max(expected, superblock.blocks)
    assert could_grow == (after.blocks > superblock.blocks)
