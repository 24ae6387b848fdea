"""``python -m rl_suite.benchmarks``: list the benchmarks, or run those that are named."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from rl_suite.benchmarks import BENCHMARKS, Options, load
from rl_suite.benchmarks.harness import RESULTS
from rl_suite.benchmarks.pictures import IMAGES, draw_stored
from rl_suite.cli import module_command, show
from rl_suite.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 when all went well, 2 when the user has to mend something, 1 for a missed promise."""
    parser = argparse.ArgumentParser(prog=module_command("rl_suite.benchmarks"), description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks to run, or 'all'; none: list them")
    parser.add_argument("--quick", action="store_true", help="small sizes: does it still work? (result not stored)")
    parser.add_argument("--repeats", type=int, default=Options.repeats, help="timed turns; the fastest counts")
    parser.add_argument("--seed", type=int, default=Options.seed)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the stored results")
    parsed, extra = parser.parse_known_args(arguments)
    if parsed.repeats < 1 or parsed.seed < 0:
        parser.error("--repeats must be at least 1 and --seed at least 0")
    names = sorted(BENCHMARKS) if parsed.names == ["all"] else parsed.names
    if extra and (len(names) != 1 or not hasattr(load(names[0], BENCHMARKS), "parse")):
        parser.error(f"unrecognized arguments: {' '.join(extra)}")
    try:
        if not names:
            show(_listing())
            return 0
        torch.set_num_threads(1)  # ours and the peers alike: one core each
        options = Options(quick=parsed.quick, repeats=parsed.repeats, seed=parsed.seed, extra=tuple(extra))
        return max(_run(name, options, parsed.results) for name in names)
    except UserError as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False, highlight=False)
        return 2


def _run(name: str, options: Options, results: Path) -> int:
    module = load(name, BENCHMARKS)
    result = module.run(options)
    show(result.table(f"{name}: {module.SUMMARY}"))
    if options.quick:
        return 0
    stored = module.stored_as(options) if hasattr(module, "stored_as") else name
    path = results / f"{stored}.json"
    result.save(path)
    show(f"stored: {path}")
    picture = draw_stored(stored, results, IMAGES if results == RESULTS and IMAGES.is_dir() else results)
    if picture is not None:
        show(f"drawn: {picture}")
    return int(any(row.verdict == "MISSED" for row in result.rows))


def _listing() -> Table:
    table = Table(title="Benchmarks: python -m rl_suite.benchmarks NAME ...", title_justify="left", min_width=72)
    table.add_column("NAME")
    table.add_column("compares")
    for name in sorted(BENCHMARKS):
        table.add_row(name, load(name, BENCHMARKS).SUMMARY)
    return table


if __name__ == "__main__":
    sys.exit(main())
