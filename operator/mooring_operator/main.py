"""The operator's process: kopf in the main thread, workers, Lease and signer beside it.

It ends in order on SIGTERM: no new work, the objects under way, then the Lease is given back. A
Lease that was lost ends the process at once, since another one is active.
"""

import asyncio
import contextlib
import logging
import os
import sys
import threading

import structlog

from mooring.domain import errors
from mooring.runtime import logging as log
from mooring_operator import (
    compose,
    fleet_surveys,
    lost_nodes,
    protection_rounds,
    relocations,
    resync,
    waiting_claims,
    watch_supervision,
)
from mooring_operator.health import HealthServer
from mooring_operator.settings import OperatorSettings

_log = structlog.get_logger("operator")
_CERTIFICATE_TIMEOUT_SECONDS = 5.0
_LOST_EXIT_CODE = 3


def run() -> None:
    """Runs the operator until it is told to stop; the entry point `mooring-operator`."""
    settings = OperatorSettings()
    try:
        _set_up_logging(settings.log_level)
        objects = compose.connect(settings)
        settings = compose.with_image(settings, objects)
        holder = compose.holder(settings)
    except errors.MooringError as error:
        _log.error("cannot start", reason=error.reason, message=str(error))
        sys.exit(1)
    operator = compose.build(settings, objects, holder)
    asyncio.run(_run(settings, operator))
    if operator.leadership.lost:
        sys.exit(_LOST_EXIT_CODE)


async def _run(settings: OperatorSettings, operator: compose.Operator) -> None:
    watching = threading.Event()
    health = HealthServer(
        settings.health_address,
        lambda: operator.workers.alive() and operator.leadership.alive(),
        watching.is_set,
    )
    stop_flag, ready_flag = asyncio.Event(), asyncio.Event()
    operator.identity.current.start()
    operator.leadership.start()
    operator.workers.start()
    operator.queue.add(fleet_surveys.KEY)
    operator.queue.add(lost_nodes.KEY)
    operator.queue.add(resync.KEY)
    operator.queue.add(relocations.KEY)
    operator.queue.add(waiting_claims.KEY)
    operator.queue.add(protection_rounds.KEY)
    health.start()
    if operator.metrics is not None:
        operator.metrics.start()
    beside = [
        asyncio.create_task(_mark_ready(ready_flag, watching)),
        asyncio.create_task(_stop_when_lost(operator, stop_flag)),
        asyncio.create_task(_serve_signer(operator)),
    ]
    try:
        await watch_supervision.watch(operator.registry, stop_flag, ready_flag)
    finally:
        for task in beside:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await asyncio.to_thread(operator.workers.stop)
        await asyncio.to_thread(operator.leadership.stop)
        operator.identity.current.stop()
        if operator.metrics is not None:
            operator.metrics.stop()
        health.stop()


async def _mark_ready(ready_flag: asyncio.Event, watching: threading.Event) -> None:
    await ready_flag.wait()
    watching.set()


async def _stop_when_lost(operator: compose.Operator, stop_flag: asyncio.Event) -> None:
    while not operator.leadership.lost:
        await asyncio.sleep(0.5)
    stop_flag.set()


async def _serve_signer(operator: compose.Operator) -> None:
    """Serves certificates from the moment there is an authority until the end."""
    current = operator.identity.current
    while not await asyncio.to_thread(current.wait, _CERTIFICATE_TIMEOUT_SECONDS):
        _log.warning("no certificate authority yet")
    stop = operator.identity.serve()
    _log.info("the signer of certificates serves")
    try:
        await asyncio.Event().wait()
    finally:
        stop()


def _set_up_logging(level: str) -> None:
    """Sets up the log; kopf's own lines come through the standard library, warnings and worse."""
    log.set_up(level)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")


if __name__ == "__main__":
    run()
