"""Events: what happened to an object, and what to do. Pure."""

import hashlib
from datetime import datetime

from mooring.api import keys
from mooring.ports import cluster
from mooring_operator import statuses

_MESSAGE_LIMIT = 1000


def event(
    about: cluster.Object, *, warning: bool, reason: str, message: str, now: datetime
) -> cluster.Object:
    """Returns an Event about an object; the same words about it have the same name."""
    metadata = about["metadata"]
    namespace = metadata.get("namespace") or "default"
    digest = hashlib.sha256(f"{metadata['uid']}/{reason}/{message}".encode()).hexdigest()[:16]
    moment = statuses.timestamp(now)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata['name'][:200]}.{digest}", "namespace": namespace},
        "involvedObject": {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "name": metadata["name"],
            "uid": metadata["uid"],
            **({"namespace": namespace} if metadata.get("namespace") else {}),
        },
        "type": "Warning" if warning else "Normal",
        "reason": reason,
        "message": message[:_MESSAGE_LIMIT],
        "source": {"component": keys.MANAGED_BY_VALUE},
        "reportingComponent": keys.MANAGED_BY_VALUE,
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }
