"""Writes docs/runbook.schema.json: what editors know of runbooks.

python docs/make_schema.py            writes it
python docs/make_schema.py --check    fails when it is stale
"""

import json
import sys
from pathlib import Path

from awfe.runbooks.schema import schema

FILE = Path(__file__).with_name("runbook.schema.json")


def main() -> int:
    """Write the file, or check it; return the exit status."""
    made = json.dumps(schema(), indent=2) + "\n"
    if "--check" not in sys.argv:
        FILE.write_text(made)
    elif made != FILE.read_text():
        print(f"{FILE.name} is stale: run python docs/{Path(__file__).name}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
