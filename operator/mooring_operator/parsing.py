"""Objects of Mooring's kinds to their models; an object that cannot be read names its fault."""

from typing import TypeVar

import pydantic

from mooring.api.v1alpha1 import base
from mooring.domain import errors
from mooring.ports import cluster

SpecT = TypeVar("SpecT", bound=base.Model)


def spec_of(obj: cluster.Object, model: type[SpecT]) -> SpecT:
    """Reads an object's spec.

    Raises:
        InvalidInput: It is not what the kind allows, as with an object older than its CRD.
    """
    try:
        return model.model_validate(obj.get("spec") or {})
    except pydantic.ValidationError as error:
        faults = "; ".join(
            f"spec.{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()
        )
        raise errors.InvalidInput(f"the object cannot be read: {faults}"[:1000]) from error
