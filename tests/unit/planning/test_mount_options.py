"""Only known mount options pass, whatever is written into a StorageClass."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.domain import errors, volumes
from mooring.planning import mount_options

EXT4, XFS, BTRFS = volumes.FilesystemType


def test_known_options_pass_in_order_and_once() -> None:
    flags = ("noatime", "commit=30", "noatime")
    assert mount_options.plan(flags, EXT4, preallocated=False) == ("noatime", "commit=30")


def test_xfs_is_always_mounted_beside_its_clones() -> None:
    assert mount_options.plan((), XFS, preallocated=False) == ("nouuid",)


def test_a_preallocated_volume_gives_nothing_back() -> None:
    with pytest.raises(errors.InvalidInput, match="discard"):
        mount_options.plan(("discard",), EXT4, preallocated=True)
    assert "nodiscard" in mount_options.plan((), BTRFS, preallocated=True)
    assert "discard" in mount_options.plan(("discard",), EXT4, preallocated=False)


@pytest.mark.parametrize("filesystem", volumes.FilesystemType)
@pytest.mark.parametrize(
    "flag",
    ["nobarrier", "barrier=0", "data=writeback", "errors=continue", "errors=panic", "noload",
     "norecovery", "loop", "commit=30,suid", "noatime,suid", "compress=zstd,x", "commit=", "commit",
     "ro=1", "", " ro", "ro\n", "commit=30\n", "remount", "bind", "-o",
     "x-mount.mkdir", "subvol=/", "uid=0"],
)  # fmt: skip
def test_unknown_and_dangerous_options_are_refused(
    flag: str, filesystem: volumes.FilesystemType
) -> None:
    with pytest.raises(errors.InvalidInput):
        mount_options.plan((flag,), filesystem, preallocated=False)


@given(flag=st.text(max_size=40), filesystem=st.sampled_from(volumes.FilesystemType))
def test_no_text_smuggles_in_a_second_option(flag: str, filesystem: volumes.FilesystemType) -> None:
    try:
        options = mount_options.plan((flag,), filesystem, preallocated=False)
    except errors.InvalidInput:
        return
    assert all("," not in option and "\n" not in option for option in options)
