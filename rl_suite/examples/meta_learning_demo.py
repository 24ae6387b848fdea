"""Every kind of meta-learner once, on small real data, beside its baseline; writes one page that shows all of it.

python -m rl_suite.examples.meta_learning_demo
"""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from rl_suite.errors import UserError
from rl_suite.examples.usage import run
from rl_suite.meta_learning.demo import run_meta_learning_demo


def main(folder: Path) -> None:
    """Run the eight parts and print their table."""
    console = Console(highlight=False)
    results = run_meta_learning_demo(folder)
    table = Table("part", "ours", "baseline", "passed", "measures", title="meta-learning", title_justify="left")
    for part in results.values():
        known = {name: value for name, value in part["metrics"].items() if value is not None}
        measures = ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in known.items())
        numbers = (f"{part[name]:.4g}" for name in ("ours", "baseline"))
        table.add_row(part["title"], *numbers, "yes" if part["passed"] else "NO", measures)
    console.print(table)
    console.print(f"page: {folder / 'meta_learning_demo.html'}  (tensorboard --logdir {folder})")
    if missed := [part["title"] for part in results.values() if not part["passed"]]:
        raise UserError(f"not better than the baseline: {'; '.join(missed)}")


if __name__ == "__main__":
    run(main, __doc__, "meta_learning_demo")
