"""The house rules that no linter checks: where code lives, and how long it may get."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE_FOLDERS = {
    "engine": "mooring",
    "operator": "mooring_operator",
    "csi": "mooring_csi",
    "cli": "mooring_cli",
    "dev": "mooring_dev",
}
MODULE_LINES = 400
FUNCTION_LINES = 40
PRODUCT_MODULES = sorted(
    path
    for folder, package in PACKAGE_FOLDERS.items()
    for path in (ROOT / folder / package).rglob("*.py")
    if "_generated" not in path.parts
)


@pytest.mark.parametrize("folder", PACKAGE_FOLDERS)
def test_plain_folders_hold_one_package_and_no_module(folder: str) -> None:
    # A package called `operator` in front of sys.path breaks the standard library.
    assert not list((ROOT / folder).glob("*.py"))
    packages = [path.parent.name for path in (ROOT / folder).glob("*/__init__.py")]
    assert packages == [PACKAGE_FOLDERS[folder]]


def test_tests_are_no_packages() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))


@pytest.mark.parametrize("path", PRODUCT_MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_keeps_the_house_rules(path: Path) -> None:
    source = path.read_text()
    tree = ast.parse(source)
    assert len(source.splitlines()) <= MODULE_LINES, "split it: a module has at most 400 lines"
    assert path.stem not in {"utils", "helpers", "common", "manager"}
    assert ast.get_docstring(tree), "open the module with why it exists"
    too_long = [
        f"{name}: {lines} lines" for name, lines in functions(tree) if lines > FUNCTION_LINES
    ]
    assert not too_long
    asserts = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    assert not asserts, "raise an error of the tree: asserts vanish under -O"


def functions(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yields each function with its length in lines, its docstring not counted."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        first = node.body[0]
        documented = ast.get_docstring(node) is not None
        docstring_lines = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
        yield node.name, (node.end_lineno or 0) - node.lineno + 1 - docstring_lines
