"""Kill the orchestrator again and again under a stream of writes, and look for anything lost.

    python benchmarks/soak.py [--kills 200] [--seed 1] [--database sqlite|postgres] [--out FILE]

See tests/service/soak. Exits 1 where something was lost, or left.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))


def main() -> None:
    import postgresql
    from service.soak.run import Soak

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgewright-soak-")))
        url = stack.enter_context(postgresql.server()) if given.database == "postgres" else None
        soak = Soak(given.kills, given.seed, folder, url, lambda line: print(line, file=sys.stderr, flush=True))
        soak.run()
    text = json.dumps(soak.report(), indent=1)
    print(text)
    if given.out:
        given.out.write_text(text + "\n")
    sys.exit(1 if soak.journal.violations else 0)


if __name__ == "__main__":
    main()
