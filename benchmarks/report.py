"""How benchmarks print: a table for people, or JSON with the command and the machine."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

Row = Mapping[str, object]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of the values do not exceed."""
    ordered = sorted(values)
    place = max(0, -(-len(ordered) * share // 1) - 1)
    return ordered[int(place)]


def machine() -> dict[str, object]:
    """What figures depend on; the load average tells whether others were at work."""
    cpu = platform.processor() or platform.machine()
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        found = None
    return {
        "cpu": found[1] if found else cpu,
        "cores": os.cpu_count(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "python": platform.python_version(),
    }


def print_report(
    title: str,
    rows: Sequence[Row],
    *,
    as_json: bool,
    as_markdown: bool = False,
    notes: Sequence[str] = (),
) -> None:
    """All rows have the same keys, the columns of the table. With `as_json` the table goes to
    stderr."""
    where = sys.stderr if as_json else sys.stdout
    if as_markdown:
        print(f"\n{title}; {_machine_line()}.\n\n{_markdown(rows)}", file=where)
    else:
        print(f"\n{title}\n{_table(rows)}", file=where)
    if notes:
        print("\n" + "\n".join(f"- {note}" for note in notes), file=where)
    if as_json:
        report = {
            "benchmark": title,
            "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            "machine": machine(),
            "rows": [dict(row) for row in rows],
            "notes": list(notes),
        }
        print(json.dumps(report, indent=2))


def print_markdown(rows: Sequence[Row]) -> None:
    """The table as a document has it."""
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([_cell(row[name]) for name in names] for row in rows)]
    for line in lines:
        print(f"| {' | '.join(line)} |")


def _table(rows: Sequence[Row]) -> str:
    names = list(rows[0])
    cells = [names, *([_cell(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    lines = [
        "  ".join(
            text.ljust(width) if column == 0 else text.rjust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def _markdown(rows: Sequence[Row]) -> str:
    names = list(rows[0])
    lines = [names, ["---", *["---:"] * (len(names) - 1)]]
    lines += [[_cell(row[name]).replace("|", "\\|") for name in names] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _machine_line() -> str:
    about = machine()
    return f"{about['cpu']}, {about['cores']} cores, load average {about['load_average']}"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)
