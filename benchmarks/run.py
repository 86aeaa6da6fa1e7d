"""`make bench`: every benchmark, one after the other; each prints ratios or percentiles and saves JSON in runs/."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    failed = []
    for path in sorted(HERE.glob("*.py")):
        if path.name != Path(__file__).name:
            print(f"== {path.name}", flush=True)
            if subprocess.run([sys.executable, str(path)], check=False).returncode != 0:
                failed.append(path.name)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
