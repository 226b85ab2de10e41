"""Keeps kopf watching: one watch that is answered with 403 or 410 takes all others down for good.

The workers would go on without a word from anybody and see changes only at the next resync, so the
watching begins anew, from a list of everything, until the process is told to stop.
"""

import asyncio
import contextlib
import signal

import kopf
import structlog

_log = structlog.get_logger("watching")
_FIRST_PAUSE_SECONDS = 0.5
_MAXIMUM_PAUSE_SECONDS = 30.0
_STEADY_SECONDS = 60.0
"""Watching that lasted for this long did not fail at once; the next pause is short again."""
_END_SECONDS = 5.0


async def watch(
    registry: kopf.OperatorRegistry, stop_flag: asyncio.Event, ready_flag: asyncio.Event
) -> None:
    """Watches until the flag is set, or SIGTERM or SIGINT comes, which set it."""
    loop = asyncio.get_running_loop()
    pause_seconds = _FIRST_PAUSE_SECONDS
    while not stop_flag.is_set():
        began = loop.time()
        failure = await _watch_once(registry, stop_flag, ready_flag)
        if failure is None:
            return
        if loop.time() - began > _STEADY_SECONDS:
            pause_seconds = _FIRST_PAUSE_SECONDS
        _log.warning("watching begins anew", reason=failure, again_after_seconds=pause_seconds)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop_flag.wait(), pause_seconds)
        pause_seconds = min(2 * pause_seconds, _MAXIMUM_PAUSE_SECONDS)


async def _watch_once(
    registry: kopf.OperatorRegistry, stop_flag: asyncio.Event, ready_flag: asyncio.Event
) -> str | None:
    """Watches until something ends; returns what failed, None when it was told to stop."""
    others = asyncio.all_tasks()
    roots = await kopf.spawn_tasks(
        registry=registry,
        clusterwide=True,
        standalone=True,
        stop_flag=stop_flag,
        ready_flag=ready_flag,
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop_flag.set)  # kopf's own ends with its tasks
    try:
        done, _ = await asyncio.wait(roots, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _end(asyncio.all_tasks() - others, set(roots))
    failures = [task.exception() for task in done if not task.cancelled()]
    return next((str(failure)[:200] for failure in failures if failure is not None), None)


async def _end(tasks: set[asyncio.Task[object]], roots: set[asyncio.Task[object]]) -> None:
    """Ends kopf's tasks within a time; its own way of stopping can wait for ever.

    A watcher waits, whatever comes, for helpers of its own: these are ended after it.
    """
    watchers = {task for task in tasks if task.get_name().startswith("watcher for ")}
    left = await _cancelled(watchers | roots) | await _cancelled(tasks - watchers - roots)
    if left:
        _log.error("tasks of the watching do not end", tasks=sorted(t.get_name() for t in left))


async def _cancelled(tasks: set[asyncio.Task[object]]) -> set[asyncio.Task[object]]:
    """Cancels tasks; returns those that have not ended in time."""
    for task in tasks:
        task.cancel()
    if not tasks:
        return set()
    done, left = await asyncio.wait(tasks, timeout=_END_SECONDS)
    for task in done:
        if not task.cancelled():
            task.exception()  # looked at, so that it is not reported as lost
    return left
