"""What a listing's page says, and its digest: the mover writes it, the operator checks it. Pure.

A page travels through the mover's log, which may be cut off; the digest in its result tells.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

EVENT = "backup"
LARGEST_MANIFESTS_BYTES = 16 << 10
"""Of one entry; a line of a log and an object of the cluster have to hold it."""


def digest(entries: Sequence[Any]) -> str:
    """Returns what tells one sequence of entries from another."""
    text = json.dumps(list(entries), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
