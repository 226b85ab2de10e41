"""What the kinds share: camel-case names, conditions, sizes, and the facts a CRD needs of a kind.

The models are the source of truth: the CRDs and the reference page are generated from them, and
the operator parses objects with them, so what is documented is what is accepted.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

CONDITION_REASON = r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"
DNS_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
QUANTITY = r"^[0-9]+(\.[0-9]+)?(k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"


class Model(BaseModel):
    """Base of every part of a kind: snake case here, camel case on the wire.

    Unknown fields are dropped, as the API server drops them, so that an object written by a newer
    version can be read.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        frozen=True,
        protected_namespaces=(),
    )

    def to_object(self) -> dict[str, Any]:
        """Returns the JSON form, without what is unset."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


LabelValue = Annotated[str, Field(max_length=63)]
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=DNS_SUBDOMAIN)]
Size = Annotated[
    str,
    Field(min_length=1, max_length=24, pattern=QUANTITY, examples=["10Gi"]),
]


class Condition(Model):
    """One condition, as the Kubernetes API conventions define it."""

    type: str = Field(max_length=316, description="Name of the condition, for example Ready.")
    status: str = Field(
        description="True, False or Unknown.",
        json_schema_extra={"enum": ["True", "False", "Unknown"]},
    )
    observed_generation: int | None = Field(
        default=None, ge=0, description="The generation of the spec that this was said about."
    )
    last_transition_time: str = Field(
        description="When the status last changed.", json_schema_extra={"format": "date-time"}
    )
    reason: str = Field(
        min_length=1, max_length=1024, pattern=CONDITION_REASON, description="Why, in one word."
    )
    message: str = Field(max_length=32768, description="Why, for people, and what to do about it.")


class Status(Model):
    """What every status has."""

    observed_generation: int | None = Field(
        default=None, description="The generation of the spec that this status was computed from."
    )
    conditions: list[Condition] = Field(
        default_factory=list,
        description="What is true of the object now.",
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        },
    )


class Placement(Model):
    """On which node the data shall be."""

    node: ObjectName | None = Field(default=None, description="Name of the node.")
    node_selector: dict[str, LabelValue] | None = Field(
        default=None,
        max_length=16,
        description="Labels of the nodes to choose from; the one with the most free space wins.",
    )


@dataclass(frozen=True)
class Column:
    """One printer column of `kubectl get`.

    Attributes:
        name: The heading.
        path: JSONPath into the object.
        type: OpenAPI type: string, integer, date.
        priority: 0 is always shown, 1 only with `-o wide`.
        description: What it means.
    """

    name: str
    path: str
    type: str = "string"
    priority: int = 0
    description: str = ""


@dataclass(frozen=True)
class Rule:
    """One CEL rule at the root of spec.

    Attributes:
        expression: Over `self`, and `oldSelf` for a rule about changes.
        message: What the user reads when it is broken.
    """

    expression: str
    message: str


@dataclass(frozen=True)
class Kind:
    """What a CRD says of a kind besides its schema.

    Attributes:
        kind: CamelCase singular.
        plural: Lower-case plural, the path in the API.
        short_name: What people type.
        namespaced: False for cluster-wide kinds.
        spec: Model of spec.
        status: Model of status.
        description: One paragraph for `kubectl explain`.
        columns: Printer columns, besides NAME; AGE is added last.
        rules: CEL rules over spec.
        spec_required: Whether an object without spec is refused.
        longest_name: Most characters of an object's name; None leaves Kubernetes' own limit.
    """

    kind: str
    plural: str
    short_name: str
    namespaced: bool
    spec: type[Model]
    status: type[Status]
    description: str
    columns: tuple[Column, ...]
    rules: tuple[Rule, ...] = ()
    spec_required: bool = True
    longest_name: int | None = None
    example: dict[str, Any] = field(default_factory=dict)


def condition_columns(condition: str) -> tuple[Column, Column]:
    """Returns the two columns that show a kind's main condition and its reason."""
    path = f'.status.conditions[?(@.type=="{condition}")]'
    return (
        Column(condition, f"{path}.status", description=f"Status of the {condition} condition."),
        Column("Reason", f"{path}.reason", description=f"Reason of the {condition} condition."),
    )


def message_column(condition: str) -> Column:
    """Returns the wide column with the main condition's message."""
    path = f'.status.conditions[?(@.type=="{condition}")].message'
    return Column("Message", path, priority=1, description="What it says, and what to do.")


def _count(parent: str, names: tuple[str, ...]) -> str:
    return " + ".join(f"(has(self.{parent}{name}) ? 1 : 0)" for name in names)


def exactly_one(*names: str, within: str = "", optional: bool = False) -> Rule:
    """Returns the rule that exactly one of some optional fields is set.

    Args:
        names: The fields.
        within: The field of spec that holds them; empty for spec itself.
        optional: Whether that field may be missing.
    """
    parent = f"{within}." if within else ""
    place = f" of spec.{within}" if within else ""
    expression = f"{_count(parent, names)} == 1"
    if optional:
        expression = f"!has(self.{within}) || {expression}"
    return Rule(expression, f"set exactly one{place}: {', '.join(names)}")


def at_most_one(*names: str, within: str) -> Rule:
    """Returns the rule that an optional field of spec holds at most one of some fields."""
    expression = f"!has(self.{within}) || {_count(within + '.', names)} <= 1"
    return Rule(expression, f"set at most one of spec.{within}: {', '.join(names)}")


def immutable(name: str, *, optional: bool = False) -> Rule:
    """Returns the rule that a field of spec never changes."""
    same = f"self.{name} == oldSelf.{name}"
    if optional:
        present = f"has(self.{name}) == has(oldSelf.{name})"
        same = f"{present} && (!has(self.{name}) || {same})"
    return Rule(same, f"spec.{name} cannot be changed; make a new object instead")
