"""The CRDs: structural, and what is committed is what the models say."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mooring.api import generate, keys, schema
from mooring.api.v1alpha1 import base, kinds

ROOT = Path(__file__).parents[3]
FORBIDDEN = {"$ref", "$defs", "anyOf", "allOf", "oneOf", "const", "title", "examples", "not"}


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("properties", {}).values():
        yield from _nodes(child)
    for name in ("items", "additionalProperties"):
        if isinstance(node.get(name), dict):
            yield from _nodes(node[name])


@pytest.mark.parametrize("name", sorted(generate.generated_files()))
def test_committed_files_are_what_the_models_say(name: str) -> None:
    assert (ROOT / name).read_text() == generate.generated_files()[name], "run: make generate"


@pytest.mark.parametrize("kind", kinds.ALL, ids=lambda kind: kind.kind)
def test_schemas_are_structural(kind: base.Kind) -> None:
    document = schema.crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for node in _nodes(document):
        assert "type" in node
        assert not FORBIDDEN & node.keys()
        assert not ("properties" in node and "additionalProperties" in node)
        if "default" in node:
            assert node["default"] is not None


@pytest.mark.parametrize("kind", kinds.ALL, ids=lambda kind: kind.kind)
def test_every_field_is_documented(kind: base.Kind) -> None:
    for model in (kind.spec, kind.status):
        for node in _nodes(schema.structural(model)):
            for name, child in node.get("properties", {}).items():
                assert child.get("description"), f"{kind.kind}: {name} has no description"


def test_every_kind_has_status_age_and_category() -> None:
    for kind in kinds.ALL:
        spec = schema.crd(kind)["spec"]
        assert spec["versions"][0]["subresources"] == {"status": {}}
        assert spec["versions"][0]["additionalPrinterColumns"][-1]["name"] == "Age"
        assert spec["names"]["categories"] == [keys.CATEGORY]


def test_a_field_of_two_types_is_refused() -> None:
    class Mixed(base.Model):
        field: int | str

    with pytest.raises(ValueError, match="one type a field"):
        schema.structural(Mixed)
