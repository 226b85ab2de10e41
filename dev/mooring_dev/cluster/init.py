"""The first process of a namespace: prepares it, then keeps its programs running, like any init.

Standard library only, and everything is imported at the start: the root folder changes below it.
"""

import json
import os
import signal
import subprocess
import sys
import time

RESTART_SECONDS = 1.0
TICK_SECONDS = 0.1
READY_FILE = "/run/set-up-{name}"  # made in the /run that the machine has of its own by then


def main(spec_file: str) -> None:
    """Runs the specification: `setup` once, then `programs` for ever.

    The specification is JSON: `{"name", "setup": [argv], "environment": {}, "programs": [{"name",
    "argv", "log"}]}`; the logs are opened before the root folder changes.
    """
    with open(spec_file, encoding="utf-8") as file:  # noqa: PTH123 - no imports beyond these
        spec = json.load(file)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    environment = spec["environment"]
    logs = {program["name"]: _open_log(program["log"]) for program in spec["programs"]}
    subprocess.run(spec["setup"], env=environment, check=True, stdin=subprocess.DEVNULL)
    os.chdir("/")
    os.close(os.open(READY_FILE.format(name=spec["name"]), os.O_CREAT | os.O_WRONLY, 0o644))
    running: dict[int, dict[str, object]] = {}
    due = [(0.0, program) for program in spec["programs"]]
    while True:
        now = time.monotonic()
        for when, program in list(due):
            if when <= now:
                due.remove((when, program))
                running[_start(program, environment, logs[program["name"]])] = program
        for process in _ended():
            if process in running:
                due.append((time.monotonic() + RESTART_SECONDS, running.pop(process)))
        time.sleep(TICK_SECONDS)


def _open_log(path: str) -> int:
    os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)


def _start(program: dict[str, object], environment: dict[str, str], log: int) -> int:
    argv = program["argv"]
    if not isinstance(argv, list):
        raise TypeError("a program's argv is a list")
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, log, 1),
        (os.POSIX_SPAWN_DUP2, log, 2),
    ]
    return os.posix_spawn(argv[0], argv, environment, file_actions=actions, setpgroup=0)


def _ended() -> list[int]:
    ended: list[int] = []
    while True:
        try:
            process, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if process == 0:
            return ended
        ended.append(process)


if __name__ == "__main__":
    main(sys.argv[1])
