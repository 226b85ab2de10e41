"""Loop devices of this machine come and go while they are looked at."""

from collections.abc import Sequence
from pathlib import Path

from mooring.adapters.host import loops
from mooring.ports import host


class Vanishing(loops.KernelLoops):
    """Shows a device that is gone by the time it is opened."""

    def __init__(self, gone: Path) -> None:
        super().__init__()
        self._gone = gone

    def attached(self) -> Sequence[host.LoopDevice]:
        return (
            host.LoopDevice(
                path=self._gone,
                number="7:99",
                backing=host.FileIdentity(1, 2),
                sector_size_bytes=4096,
                direct_io=True,
                read_only=False,
                size_bytes=1 << 20,
            ),
        )


def test_a_device_that_went_meanwhile_is_on_top_of_nothing(tmp_path: Path) -> None:
    assert Vanishing(tmp_path / "loop99").on_top_of(Path("/dev/null")) == ()
