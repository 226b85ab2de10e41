"""Figures of a benchmark: medians of paired rounds, printed, and kept in the reference page."""

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

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


HEADINGS = ("what", "Mooring", "peer", "ratio", "target")


def show(title: str, ratios: Sequence[Ratio], console: Console) -> None:
    """Prints the ratios as a table."""
    table = Table(title=title)
    for heading in HEADINGS:
        table.add_column(heading)
    for ratio in ratios:
        table.add_row(*ratio.cells())
    console.print(table)


def record(section: str, words: str, ratios: Sequence[Ratio]) -> None:
    """Replaces one section of docs/reference/performance.md with this run's ratios."""
    begin, end = f"<!-- begin {section} -->", f"<!-- end {section} -->"
    machine = f"{os.cpu_count()} cores, Linux {platform.release()}, {datetime.now(UTC):%Y-%m-%d}"
    lines = [words, "", f"| {' | '.join(HEADINGS)} |", "|" + "---|" * len(HEADINGS)]
    lines += [f"| {' | '.join(ratio.cells())} |" for ratio in ratios]
    lines += ["", f"Medians of {len(ratios[0].subject)} paired rounds in one run ({machine})."]
    text = PAGE.read_text()
    before, rest = text.split(begin)
    after = rest.split(end)[1]
    PAGE.write_text(before + begin + "\n" + "\n".join(lines) + "\n" + end + after)
