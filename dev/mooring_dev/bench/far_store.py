"""What distance costs a restore: the same from one S3 server, next to it and 50 ms away."""

import filecmp
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from mooring_dev import s3_server
from mooring_dev.bench import backup_tools, distance, images
from mooring_dev.bench.figures import Ratio, at_least, record, show
from mooring_dev.bench.timed import Timed

NEAR, FAR = 0.0, 0.05
IMAGE_BYTES = 2 << 30
ROUNDS = 3


class InBucket(backup_tools.Mooring):
    """`mooring` with its repository in a bucket.

    Attributes:
        port: Where the server is reached.
    """

    def __init__(self, folder: Path, image: Path, server: s3_server.S3Server) -> None:
        super().__init__(folder, image)
        self.port = server.port
        self._server = server
        self._bucket = server.new_bucket()
        self._login = s3_server.ADMINISTRATOR.write_to(folder / "login")

    def environment(self) -> Mapping[str, str]:
        """See `Tool`."""
        endpoint = f"http://127.0.0.1:{self.port}"
        return {
            "MOORING_REPOSITORY": str(self._server.location(self._bucket, endpoint=endpoint)),
            "MOORING_KEY_FILE": str(self.key),
            "MOORING_STORE_CREDENTIALS": str(self._login),
        }

    def back_up(self) -> Timed:
        """See `Tool`."""
        return self.mooring("backup", str(self.image))


def run(console: Console, *, keep: bool) -> list[Ratio]:
    """Measures, prints, and with `keep` records the figures."""
    with tempfile.TemporaryDirectory(prefix="mooring-bench-", dir="/var/tmp") as name:
        folder = Path(name)
        images.collect_files(folder / "files")
        images.make_image(folder / "image", IMAGE_BYTES, folder / "files")
        shutil.rmtree(folder / "files")
        with s3_server.running(folder / "server", keep_alive=True) as server:
            tool = InBucket(folder / "tool", folder / "image", server)
            tool.make()
            tool.back_up()
            found = _rounds(tool, server.port, console)
        mib = (folder / "image").stat().st_blocks / 2048
    rates = {delay: [mib / one.seconds for one in restores] for delay, restores in found.items()}
    peaks = {delay: [one.peak_mib for one in restores] for delay, restores in found.items()}
    ratios = [
        at_least(Ratio("restore, 50 ms away / near", rates[FAR], rates[NEAR], "MiB/s"), 0.5),
        Ratio("peak memory, 50 ms away / near", peaks[FAR], peaks[NEAR], "MiB"),
    ]
    show("restores from S3", ratios, console)
    if keep:
        words = "`make bench-scale-backup`: `mooring restore` from versitygw, each request 50 ms "
        record("far-store", words + "longer, against the same without.", ratios)
    return ratios


def _rounds(tool: InBucket, port: int, console: Console) -> dict[float, list[Timed]]:
    """Restores in turn from near and from far; each restore is compared with the image."""
    found: dict[float, list[Timed]] = {NEAR: [], FAR: []}
    for number in range(ROUNDS):
        for delay in (NEAR, FAR) if number % 2 else (FAR, NEAR):
            with distance.wire(port, delay) as tool.port:
                done, image = tool.restore(tool.folder / "restored")
            if not filecmp.cmp(image, tool.image, shallow=False):
                raise RuntimeError(f"a restore over {delay} s brought something else")
            shutil.rmtree(tool.folder / "restored")
            found[delay].append(done)
            console.print(
                f"  {delay * 1000:.0f} ms: round {number + 1}: {done.seconds:.1f} s, "
                f"processor {done.cpu_seconds:.1f} s, load {os.getloadavg()[0]:.1f}"
            )
    return found


if __name__ == "__main__":
    run(Console(), keep=True)
