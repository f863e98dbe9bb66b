"""`make crash`: kills downloads, at least 1,000 times, and counts what was claimed falsely (it must be 0)."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from faults import FaultyDisk

from .harness import ENDS, MEMORY, Harness, Tally

MIB = 1 << 20


def percentile(values: list[float], of: float) -> float:
    """The value that `of` (0 to 1) of all do not exceed."""
    return sorted(values)[min(len(values) - 1, int(of * len(values)))] if values else 0.0


def spread(values: list[float], unit: float, form: str) -> str:
    cuts = (percentile(values, 0.5), percentile(values, 0.99), max(values, default=0.0))
    return " / ".join(format(value / unit, form) for value in cuts)


def report(tally: Tally, seconds: float) -> None:
    print(f"{'ended by':<12}{'times':>7}   fetched again, MiB: p50 / p99 / max")
    for end, count in tally.kills.items():
        again = [float(size) for size in tally.again.get(end, [])]
        print(f"{end:<12}{count:>7}   {spread(again, MIB, '.2f')}")
    print(f"kills {tally.count}, restarts {tally.restarts}, downloads {tally.completed}")
    print(f"start until trading, seconds: p50 / p99 / max {spread(tally.rehash, 1, '.3f')}")
    print(f"slots in flight at most: {MEMORY / MIB:.0f} MiB; took {seconds:.0f} s")
    for false in tally.false_claims[:20]:
        print(f"FALSE: {false}")
    print(f"false claims: {len(tally.false_claims)}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="make crash", description=__doc__)
    parser.add_argument("-n", "--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--end", choices=ENDS, action="append", help="only these ways to end")
    given = parser.parse_args()
    if missing := FaultyDisk.missing():
        print(missing, file=sys.stderr)
        return 2
    print(f"seed {given.seed}", flush=True)
    begun = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="swarm-crash", ignore_cleanup_errors=True) as folder,
        Harness(Path(folder), given.seed) as harness,
    ):
        ends = given.end or ENDS
        while harness.tally.count < given.kills:
            left = given.kills - harness.tally.count
            harness.cycle(harness.rng.choice(ends), min(left, harness.rng.randint(4, 12)))
            if sys.stderr.isatty():
                print(f"\r{harness.tally.count} kills", end="", file=sys.stderr)
        report(harness.tally, time.monotonic() - begun)
    return bool(harness.tally.false_claims)


if __name__ == "__main__":
    sys.exit(main())
