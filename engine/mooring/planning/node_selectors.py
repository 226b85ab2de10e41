"""Which nodes a node selector of Kubernetes means. Pure.

As the scheduler reads the `nodeAffinity` of a PersistentVolume: one of the terms has to hold, and
of a term all that it says. A term that says nothing holds for no node.
"""

from collections.abc import Mapping, Sequence
from typing import Any

_NAME = "metadata.name"


def selects(selector: Mapping[str, Any], name: str, labels: Mapping[str, str]) -> bool:
    """Whether a selector means a node.

    Args:
        selector: With `nodeSelectorTerms`.
        name: Of the node.
        labels: Of the node.
    """
    fields = {_NAME: name}
    for term in selector.get("nodeSelectorTerms") or ():
        wanted = [(one, labels) for one in term.get("matchExpressions") or ()]
        wanted += [(one, fields) for one in term.get("matchFields") or ()]
        if wanted and all(_holds(one, facts) for one, facts in wanted):
            return True
    return False


def _holds(requirement: Mapping[str, Any], facts: Mapping[str, str]) -> bool:
    found = facts.get(str(requirement.get("key")))
    values: Sequence[str] = requirement.get("values") or ()
    match requirement.get("operator", "In"):
        case "In":
            return found in values
        case "NotIn":
            return found not in values
        case "Exists":
            return found is not None
        case "DoesNotExist":
            return found is None
        case "Gt" | "Lt" as operator:
            return _compares(found, values, larger=operator == "Gt")
    return False


def _compares(found: str | None, values: Sequence[str], *, larger: bool) -> bool:
    try:
        here, bound = int(found or ""), int(values[0])
    except (ValueError, IndexError):
        return False
    return here > bound if larger else here < bound
