#!/usr/bin/env python3
"""Write every file that is generated from the types; with ``--check``, only say which are out of date."""

from __future__ import annotations

import sys
from pathlib import Path

from rehearse.core.records import to_json
from rehearse.core.reference import reference_page
from rehearse.core.schema import campaign_schema

ROOT = Path(__file__).parent.parent


def generated() -> dict[Path, str]:
    """Text of every generated file, by its path."""
    schema = campaign_schema()
    return {
        ROOT / "config" / "campaign.schema.json": to_json(schema),
        ROOT / "config" / "README.md": reference_page(schema),
    }


def main() -> int:
    """Write the files, or list those that differ; returns the exit code."""
    texts = generated()
    stale = [path for path, text in texts.items() if not path.exists() or path.read_text("utf-8") != text]
    names = [str(path.relative_to(ROOT)) for path in stale]
    if "--check" in sys.argv[1:]:
        sys.stderr.writelines(f"{name}: out of date; run: make docs\n" for name in names)
        return 1 if stale else 0
    for path in stale:
        path.write_text(texts[path], encoding="utf-8")
    sys.stdout.writelines(f"{name}: written\n" for name in names)
    return 0


if __name__ == "__main__":
    sys.exit(main())
