"""How a process of the driver ends: in order, whoever gets the signal, whatever hangs."""

import signal
import subprocess
import sys

import pytest

SERVE = """
import signal, sys, threading, time
from mooring_csi import main

class Process:
    def start(self):
        print("started", flush=True)
    def stop(self):
        print("stopped", flush=True)
        time.sleep({stop_seconds})

{before}
main._serve(Process())
"""
# The kernel gives the signal to another thread, which never ends by itself.
AWKWARD = """
threading.Thread(target=time.sleep, args=(3600,)).start()
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
"""


def ended(before: str = "", *, stop_seconds: float = 0, signals: int = 1) -> tuple[int, str]:
    """Starts a process, signals it, and returns its exit code and output."""
    code = SERVE.format(before=before, stop_seconds=stop_seconds)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as one:
        assert one.stdout is not None
        try:
            assert one.stdout.readline() == "started\n"
            for _ in range(signals):
                one.send_signal(signal.SIGTERM)
                seen = one.stdout.readline()
            return one.wait(20), seen
        finally:
            one.kill()


@pytest.mark.parametrize("before", ["", AWKWARD])
def test_a_signal_ends_it_in_order(before: str) -> None:
    assert ended(before) == (0, "stopped\n")


def test_a_second_signal_ends_it_at_once() -> None:
    code, _ = ended(stop_seconds=3600, signals=2)
    assert code == 130
