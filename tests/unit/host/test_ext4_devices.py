"""The size of an ext4 on its device."""

from pathlib import Path

import pytest

from mooring.adapters.host import ext4_devices
from mooring.domain import errors


@pytest.mark.parametrize("content", [b"", b"short", bytes(1 << 20)])
def test_a_device_without_an_ext4_is_told(tmp_path: Path, content: bytes) -> None:
    device = tmp_path / "device"
    device.write_bytes(content)
    with pytest.raises(errors.DataCorrupt, match="e2fsck -n"):
        ext4_devices.fills(device)
