"""Figures of a benchmark: medians of paired rounds, printed, and kept in the reference page."""

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table as PrintedTable

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "performance.md"


@dataclass(frozen=True)
class Ratio:
    """One measured ratio.

    Attributes:
        name: What was compared.
        subject: Mooring's figures, one a round.
        peer: The peer's figures of the same rounds.
        unit: Of both.
        target: The bound that the ratio is held against, in words; empty for none.
        met: Whether it is; None without a target.
    """

    name: str
    subject: Sequence[float]
    peer: Sequence[float]
    unit: str
    target: str = ""
    met: bool | None = None

    @property
    def value(self) -> float:
        """The ratio of the medians."""
        return statistics.median(self.subject) / statistics.median(self.peer)

    def cells(self) -> tuple[str, str, str, str, str]:
        """Returns the row of the table."""
        verdict = "" if self.met is None else ("met" if self.met else "missed")
        return (
            self.name,
            f"{statistics.median(self.subject):,.3g} {self.unit}",
            f"{statistics.median(self.peer):,.3g} {self.unit}",
            f"{self.value:.2f}",
            f"{self.target} {verdict}".strip(),
        )


def at_most(ratio: Ratio, bound: float) -> Ratio:
    """Returns a ratio that is held against an upper bound."""
    return replace(ratio, target=f"<= {bound}", met=ratio.value <= bound)


def at_least(ratio: Ratio, bound: float) -> Ratio:
    """Returns a ratio that is held against a lower bound."""
    return replace(ratio, target=f">= {bound}", met=ratio.value >= bound)


@dataclass(frozen=True)
class Table:
    """Rows of text below headings."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> list[str]:
        """Returns its lines for the reference page."""
        first = [f"| {' | '.join(self.headings)} |", "|" + "---|" * len(self.headings)]
        return [*first, *(f"| {' | '.join(row)} |" for row in self.rows)]


HEADINGS = ("what", "Mooring", "peer", "ratio", "target")


def _ratio_table(ratios: Sequence[Ratio]) -> Table:
    return Table(HEADINGS, [ratio.cells() for ratio in ratios])


def show(title: str, ratios: Sequence[Ratio], console: Console) -> None:
    """Prints the ratios as a table."""
    show_table(title, _ratio_table(ratios), console)


def show_table(title: str, table: Table, console: Console) -> None:
    """Prints a table."""
    printed = PrintedTable(*table.headings, title=title)
    for row in table.rows:
        printed.add_row(*row)
    console.print(printed)


def record(section: str, words: str, ratios: Sequence[Ratio], *more: Table) -> None:
    """Replaces one section of docs/reference/performance.md with this run's ratios and tables."""
    begin, end = f"<!-- begin {section} -->", f"<!-- end {section} -->"
    machine = f"{os.cpu_count()} cores, Linux {platform.release()}, {datetime.now(UTC):%Y-%m-%d}"
    lines = [words, ""]
    for table in (_ratio_table(ratios), *more):
        lines += [*table.markdown(), ""]
    lines += [f"Medians of {len(ratios[0].subject)} paired rounds in one run ({machine})."]
    text = PAGE.read_text()
    before, rest = text.split(begin)
    after = rest.split(end)[1]
    PAGE.write_text(before + begin + "\n" + "\n".join(lines) + "\n" + end + after)
