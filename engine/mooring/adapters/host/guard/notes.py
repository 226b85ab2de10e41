"""Log lines of the guard, in the form of `runtime.logging`, without its imports."""

import json
import os
import sys
import time


def note(event: str, level: str = "info", **facts: object) -> None:
    """Writes one JSON line to standard error; a closed one is no reason to stop."""
    timestamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    line = {**facts, "event": event, "logger": "guard", "level": level, "timestamp": timestamp}
    try:
        os.write(sys.stderr.fileno(), f"{json.dumps(line)}\n".encode())
    except OSError:
        return
