"""Every operation of a node, broken off at each system call that changes something.

After a kill, a retry by the next agent finishes the work. After an error that the kernel
returned, success is not claimed for work that was not done, and a retry finishes it. After a
power cut the pool has the old state or the new one. The number of points comes with each result.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest

from support import fault_report, real_storage
from support.broken_off import Bench, PowerBench
from support.faulted_operations import OPERATIONS
from support.syscall_faults import KILL, Point

pytestmark = [pytest.mark.system, pytest.mark.timeout(1800)]

SHORT = int(os.environ.get("MOORING_FAULT_POINTS", "0"))
"""How many points of each operation, evenly spread; 0 for all."""
FULL = "error=ENOSPC"
ERRORS = ("error=EIO", FULL, "error=EROFS")
Some = TypeVar("Some", bound=Bench)
_TRIES = 3
_PERSISTS = ("fsync", "fdatasync")


@contextmanager
def _made(kind: type[Some], operation: str) -> Iterator[Some]:
    with real_storage.scratch() as folder:
        made = kind(folder / "a", OPERATIONS[operation])
        try:
            yield made
        finally:
            made.close()


@pytest.fixture(scope="module", params=OPERATIONS)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    with _made(Bench, request.param) as made:
        yield made


@pytest.fixture(params=OPERATIONS)
def power_bench(request: pytest.FixtureRequest) -> Iterator[PowerBench]:
    with _made(PowerBench, request.param) as made:
        yield made


def _strike_all(
    bench: Bench, request: pytest.FixtureRequest, what: str, strike: Callable[[Point], bool]
) -> None:
    """Breaks off at the chosen points, each of which has to be met; counted in the report.

    A loop device that another program made or dropped shifts the count of the calls, so a point
    that was not met is tried again as it is counted then.
    """
    chosen = bench.points
    if SHORT and len(chosen) > SHORT:
        chosen = [chosen[(2 * i + 1) * len(chosen) // (2 * SHORT)] for i in range(SHORT)]
    spared = []
    for point in chosen:
        if strike(point) or any(strike(bench.again(point)) for _ in range(_TRIES)):
            continue
        spared.append(str(point))
    name, struck = request.node.callspec.id, len(chosen) - len(spared)
    line = f"{name}: {what} met {struck} of {len(chosen)} points, of {len(bench.points)} there are"
    request.config.stash.setdefault(fault_report.LINES, []).append(line)
    assert not spared


def test_a_kill_at_any_call_is_made_good_by_a_retry(
    bench: Bench, request: pytest.FixtureRequest
) -> None:
    def strike(point: Point) -> bool:
        ending = bench.broken_off(point, KILL)
        assert ending.killed or not ending.struck or point.in_program
        return ending.struck

    _strike_all(bench, request, "kill", strike)


@pytest.mark.parametrize("turn", range(1 if SHORT else len(ERRORS)))
def test_an_error_at_any_call_is_no_success(
    bench: Bench, request: pytest.FixtureRequest, turn: int
) -> None:
    # In the short form each operation meets one of the errors, the next operation the next one.
    operation = list(OPERATIONS).index(request.node.callspec.params["bench"])
    what = ERRORS[(operation + turn) % len(ERRORS)]

    def strike(point: Point) -> bool:
        ending = bench.broken_off(point, what)
        assert not ending.killed
        # A full disk does not stop a deletion: it goes on without its intent (decision 9).
        if ending.struck and point.name in _PERSISTS and not point.in_child and what != FULL:
            assert ending.error is not None, f"success was claimed in spite of {point}"
        return ending.struck

    _strike_all(bench, request, what, strike)


def test_a_power_cut_at_any_call_leaves_the_old_state_or_the_new_one(
    power_bench: PowerBench, request: pytest.FixtureRequest
) -> None:
    _strike_all(power_bench, request, "power cut", power_bench.cut_at)
