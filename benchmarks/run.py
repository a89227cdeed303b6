"""Run all benchmarks, or those named, and keep their tables and plots under benchmarks/results/.

python benchmarks/run.py [NAME ...]
"""

from __future__ import annotations

import importlib
import os
import platform
import sys
from pathlib import Path

import pandas as pd

HERE = Path(__file__).parent
RESULTS = HERE / "results"


def names() -> list[str]:
    """Benchmarks are the modules beside this one with a ``measure`` function."""
    return sorted(path.stem for path in HERE.glob("*.py") if path.stem != "run")


def markdown(table: pd.DataFrame) -> str:
    """The table as GitHub shows it."""
    lines = [list(table.columns), ["---"] * len(table.columns), *table.fillna("").astype(str).values.tolist()]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def main() -> None:
    """Measure, print and write one CSV, one Markdown table and, where there is one, a plot per benchmark."""
    chosen = sys.argv[1:] or names()
    unknown = sorted(set(chosen) - set(names()))
    if unknown:
        sys.exit(f"no benchmark {', '.join(unknown)}; choices: {', '.join(names())}")
    RESULTS.mkdir(exist_ok=True)
    print(f"{os.cpu_count()} cores, {platform.processor() or platform.machine()}, load {os.getloadavg()[0]:.1f}")
    for name in chosen:
        module = importlib.import_module(name)
        print(f"\n{name}: {(module.__doc__ or '').splitlines()[0]}")
        table: pd.DataFrame = module.measure()
        table.to_csv(RESULTS / f"{name}.csv", index=False)
        (RESULTS / f"{name}.md").write_text(f"Load {os.getloadavg()[0]:.1f}.\n\n{markdown(table)}\n")
        if hasattr(module, "plot"):
            module.plot(table, RESULTS / f"{name}.svg")
        print(table.to_string(index=False))


if __name__ == "__main__":
    main()
