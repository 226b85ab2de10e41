"""Pydantic models to structural CRD schemas. Pure.

A pydantic schema is not structural: it has `$defs` and `$ref`, `anyOf` with null for optional
fields, numeric `exclusiveMinimum`, `const`, titles, and defaults that the API server would reject.
This rewrites each of them. The committed CRDs are compared with the result in a test, and applied
to a real API server in another.
"""

from typing import Any

from mooring.api import keys
from mooring.api.v1alpha1 import base

Schema = dict[str, Any]

_KEPT = (
    "type", "format", "description", "enum", "default", "minLength", "maxLength", "pattern",
    "minimum", "maximum", "minItems", "maxItems", "minProperties", "maxProperties",
    "x-kubernetes-list-type", "x-kubernetes-list-map-keys",
    "x-kubernetes-preserve-unknown-fields",
)  # fmt: skip


def structural(model: type[base.Model]) -> Schema:
    """Returns the structural schema of a model, as a CRD wants it."""
    raw = model.model_json_schema(by_alias=True, mode="validation")
    return _convert(raw, raw.get("$defs", {}))


def _convert(node: Schema, definitions: dict[str, Schema]) -> Schema:
    node = _resolved(node, definitions)
    result = {key: node[key] for key in _KEPT if key in node}
    if "const" in node:
        result["enum"] = [node["const"]]
    if "exclusiveMinimum" in node:
        result["minimum"], result["exclusiveMinimum"] = node["exclusiveMinimum"], True
    if result.get("default") in (None, {}, []):
        result.pop("default", None)
    if "properties" in node:
        result["properties"] = {
            name: _convert(child, definitions) for name, child in node["properties"].items()
        }
    elif isinstance(node.get("additionalProperties"), dict):
        result["additionalProperties"] = _convert(node["additionalProperties"], definitions)
    if "items" in node:
        result["items"] = _convert(node["items"], definitions)
    if node.get("required"):
        result["required"] = sorted(node["required"])
    if result.get("type") == "integer" and "format" not in result:
        result["format"] = "int64"
    return result


def _resolved(node: Schema, definitions: dict[str, Schema]) -> Schema:
    """Follows `$ref`, and takes the one branch of an `anyOf` that is not null."""
    own = {key: value for key, value in node.items() if key not in ("$ref", "anyOf", "allOf")}
    if "$ref" in node:
        target = _resolved(definitions[node["$ref"].rsplit("/", 1)[1]], definitions)
        return {**target, **own}
    branches = [part for part in node.get("anyOf", []) if part.get("type") != "null"]
    if len(branches) > 1:
        raise ValueError(f"a structural schema has one type a field, not {branches}")
    if branches:
        return {**_resolved(branches[0], definitions), **own}
    return node


def crd(kind: base.Kind) -> dict[str, Any]:
    """Returns the whole CustomResourceDefinition of a kind."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{kind.plural}.{keys.GROUP}",
            "labels": {keys.NAME: keys.NAME_VALUE},
        },
        "spec": {
            "group": keys.GROUP,
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.kind.lower(),
                "shortNames": [kind.short_name] if kind.short_name != kind.kind.lower() else [],
                "categories": [keys.CATEGORY],
            },
            "versions": [_version(kind)],
        },
    }


def _version(kind: base.Kind) -> dict[str, Any]:
    columns = [_column(column) for column in kind.columns]
    columns.append({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"})
    spec = structural(kind.spec)
    spec["description"] = kind.spec.__doc__ or ""
    if kind.rules:
        spec["x-kubernetes-validations"] = [
            {"rule": rule.expression, "message": rule.message} for rule in kind.rules
        ]
    status = structural(kind.status)
    schema: Schema = {
        "type": "object",
        "description": kind.description,
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status,
        },
    }
    if kind.spec_required:
        schema["required"] = ["spec"]
    if kind.longest_name is not None:
        rule = f"size(self.metadata.name) <= {kind.longest_name}"
        message = f"metadata.name has at most {kind.longest_name} characters"
        schema["x-kubernetes-validations"] = [{"rule": rule, "message": message}]
    return {
        "name": keys.VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": columns,
        "schema": {"openAPIV3Schema": schema},
    }


def _column(column: base.Column) -> dict[str, Any]:
    result: dict[str, Any] = {
        "name": column.name,
        "type": column.type,
        "jsonPath": column.path,
    }
    if column.description:
        result["description"] = column.description
    if column.priority:
        result["priority"] = column.priority
    return result
