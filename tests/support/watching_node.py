"""A node that looks after the space of its pool, to be killed while volumes stand still.

Arguments: the machine's folder, and the pool's size in bytes. Its volumes were made and mounted
before, by a process that has let go of the pool.
"""

import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from mooring.agent import upkeep
from support.real_storage import Machine

OVERCOMMIT = 0.1
"""Much more is promised than there is."""


def main(folder: str, pool_bytes: str) -> None:
    machine = Machine(Path(folder), image_size_bytes=int(pool_bytes), overcommit=OVERCOMMIT)
    upkeep.space_watch(machine.node, lambda: None).start()
    signal.pause()


if __name__ == "__main__":
    main(*sys.argv[1:])
