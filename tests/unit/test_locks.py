"""The image's lock file names what the developers' lock file names, so both run the same code."""

import re
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def pins(name: str) -> dict[str, str]:
    """Returns package to version."""
    found = re.findall(r"^([\w.-]+)==([^\s\\;]+)", (CHECKOUT / name).read_text(), re.MULTILINE)
    return dict(found)


def test_the_image_runs_the_versions_that_are_tested() -> None:
    image, developers = pins("requirements-runtime.lock"), pins("requirements.lock")
    assert image
    assert {name: developers.get(name) for name in image} == image


def test_the_image_has_every_dependency_that_the_project_declares() -> None:
    declared = (CHECKOUT / "pyproject.toml").read_text()
    block = re.search(r"^dependencies = \[(.*?)^\]", declared, re.MULTILINE | re.DOTALL)
    assert block is not None
    names = set(re.findall(r'^\s*"([\w.-]+)', block.group(1), re.MULTILINE))
    assert names <= set(pins("requirements-runtime.lock"))
    assert "pytest" not in pins("requirements-runtime.lock")
