"""The making of an embedded pool, as an operation that is broken off."""

from collections.abc import Callable
from pathlib import Path

from mooring.adapters import registry
from mooring.domain import pools
from mooring.ports.pools import PoolConfiguration
from support.real_storage import MIB, POOL

SIZE_BYTES = 320 * MIB


def opener(folder: Path) -> registry.PoolOpener:
    """Returns what opens the pool of a node, whose folders lie below one."""
    configuration = PoolConfiguration(POOL, pools.PoolBackend.REFLINK, folder / "pool", SIZE_BYTES)
    return registry.PoolOpener(configuration, folder / "state", registry.kernel_host())


def make(folder: Path) -> Callable[[], None]:
    """Returns what makes the pool."""

    def act() -> None:
        opener(folder).open()

    return act
