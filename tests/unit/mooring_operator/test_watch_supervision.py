"""kopf's watching is begun anew when it fails, ends when told to, and leaves no task behind."""

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any

import kopf
import pytest

from mooring_operator import watch_supervision

Spawn = Callable[..., Any]


def run(monkeypatch: pytest.MonkeyPatch, spawn: Spawn) -> asyncio.Event:
    """Watches with kopf's tasks replaced; returns the flag that stops it."""

    async def watch() -> asyncio.Event:
        stop_flag = asyncio.Event()
        monkeypatch.setattr(kopf, "spawn_tasks", spawn)
        monkeypatch.setattr(watch_supervision, "_FIRST_PAUSE_SECONDS", 0.01)
        monkeypatch.setattr(watch_supervision, "_END_SECONDS", 0.2)
        registry = kopf.OperatorRegistry()
        before = asyncio.all_tasks()
        watching = watch_supervision.watch(registry, stop_flag, asyncio.Event())
        await asyncio.wait_for(watching, 10)
        assert asyncio.all_tasks() == before
        return stop_flag

    return asyncio.run(watch())


async def _fails() -> None:
    raise RuntimeError("410: too old")


async def _watcher(helper: asyncio.Task[None]) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        await helper  # as kopf's does, which waits for its queues to empty


def test_a_failed_watch_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = []
    kept = []  # asyncio itself holds tasks weakly

    async def spawn(*, stop_flag: asyncio.Event, **_: Any) -> list[asyncio.Task[Any]]:
        rounds.append(1)
        if len(rounds) < 3:
            helper = asyncio.create_task(asyncio.sleep(0.05))
            kept.append(asyncio.create_task(_watcher(helper), name="watcher for pods"))
            await asyncio.sleep(0)
            return [asyncio.create_task(_fails())]
        asyncio.get_running_loop().call_later(0.01, stop_flag.set)
        return [asyncio.create_task(stop_flag.wait(), name="stop-flag checker")]

    assert run(monkeypatch, spawn).is_set()
    assert len(rounds) == 3


def test_a_signal_stops_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def spawn(*, stop_flag: asyncio.Event, **_: Any) -> list[asyncio.Task[Any]]:
        loop = asyncio.get_running_loop()
        loop.call_later(0.01, os.kill, os.getpid(), signal.SIGTERM)
        return [asyncio.create_task(stop_flag.wait())]

    assert run(monkeypatch, spawn).is_set()
