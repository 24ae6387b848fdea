"""``python train.py experiment=meta_symbolic``: learn which forms laws have from random laws, then find unseen ones."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from rl_suite.checkpoint import load_checkpoint, write_atomically
from rl_suite.cli import show
from rl_suite.errors import UserError
from rl_suite.evaluation.narrow import narrow_table, stacked
from rl_suite.experiments import EvaluationRequest
from rl_suite.law_prior.config import LawPriorConfig
from rl_suite.law_prior.looks import draw_looks, looked_at, writings_of
from rl_suite.meta_rl.comparison import (
    Outcome,
    Row,
    laws_of,
    measure_policy,
    median_programs,
    records,
    solved_share,
)
from rl_suite.meta_rl.pretraining import Pretraining, PriorTraining
from rl_suite.progress import ProgressBar
from rl_suite.rehearsal import changed, rehearsed
from rl_suite.run import Run
from rl_suite.symbolic.prior import Prior, Shape

FILE = "prior.safetensors"
REHEARSED = 32  # laws
POINTS = (1, 10, 100, 1000, 10_000)


@dataclass(frozen=True)
class PriorReport:
    """Per cent of laws solved within so many programs, with intervals by bootstrap over families."""

    outcomes: tuple[Outcome, ...]
    programs: int
    looks: Mapping[str, Mapping[str, float]]
    """Where it looks while it writes each symbol, see :func:`rl_suite.law_prior.looks.looked_at`."""

    def tables(self) -> Sequence[Table | str]:
        """One row for each way of looking for laws."""
        points = [n for n in POINTS if n <= self.programs]
        title = "laws of forms never trained on: per cent solved within so many programs"
        headings = [*(f"{n:,}" for n in points), "no monomials", "median"]
        table = narrow_table(title, "way", headings, "median: programs to the first that solves a law")
        for name in dict.fromkeys(o.row for o in self.outcomes):
            own = [o for o in self.outcomes if o.row == name]
            hard = [o for o in own if not o.monomial]
            shares = [stacked(str(solved_share(own, n))) for n in points]
            apart = stacked(str(solved_share(hard, self.programs))) if hard else "-"
            table.add_row(name, *shares, apart, f"{median_programs(own):g}")
        return [table, self._looks()]

    def _looks(self) -> Table:
        title = "share of the attention of the last layer while the true forms of these laws are written"
        keys = ("uses", "table", "column_below", "column_elsewhere")
        headings = ("uses", "the table as a whole", "a column below", "a column elsewhere")
        caption = "a column: the mean over those that stand under the symbol, or elsewhere"
        table = narrow_table(title, "writes", headings, caption)
        for symbol, found in self.looks.items():
            table.add_row(symbol, *(f"{found[key]:.3g}" if key in found else "-" for key in keys))
        return table

    def save(self, path: Path) -> None:
        """Every outcome as JSON, whole or not at all."""
        content = {"programs": self.programs, "outcomes": records(self.outcomes), "looks": self.looks}
        write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())


def training_of(config: LawPriorConfig) -> PriorTraining:
    """A training that has not begun."""
    network, section = config.law_prior.network, config.law_prior.pretraining
    if network.width % (2 * network.heads):
        raise UserError(f"law_prior.network.width={network.width} must be a multiple of twice heads={network.heads}")
    settings = Pretraining(
        section.laws, section.seconds, section.batch_size, section.learning_rate, section.weight_decay
    )
    return PriorTraining(Shape(**network.model_dump()), settings, config.seed)


def shrink(config: LawPriorConfig) -> LawPriorConfig:
    """The same network on few laws, measured on one program of each law."""
    sizes = {"pretraining.laws": REHEARSED, "pretraining.batch_size": REHEARSED // 2}
    measuring = {"measuring.programs": 1, "measuring.steps": (0,)}
    return changed(config, {f"law_prior.{key}": value for key, value in (sizes | measuring).items()})


@rehearsed(shrink)
def train(config: LawPriorConfig, run: Run) -> None:
    """Train from the last checkpoint if there is one, write the prior, then measure it."""
    training = training_of(config)
    latest = run.checkpoints.read_latest()
    if latest is not None:
        training.load_state_dict(latest.content)
    run.go_on_from(latest)
    section = config.law_prior.pretraining
    saved = training.laws
    with ProgressBar("laws", section.laws) as progress:
        while not training.done:
            training.step()
            progress.update(min(training.laws, section.laws), loss=training.loss, seconds=training.seconds)
            run.log(training.laws, {"train/loss": training.loss, "time/cpu_seconds": training.seconds})
            if training.done or run.stop_requested or training.laws - saved >= section.checkpoint_every:
                saved = training.laws
                run.save(training.laws, training.state_dict())
            if run.stop_requested and not training.done:
                run.finish("stopped")
                return
    prior = training.prior()
    prior.save(run.path / FILE)
    report = measured(config, prior)
    report.save(run.path / "evaluation.json")
    draw_looks(
        prior.policy,
        laws_of(config.law_prior.measuring.laws, config.seed),
        max(config.law_prior.measuring.steps),
        config.seed,
        run.path / "attention.png",
    )
    for table in report.tables():
        show(table)
    show(f"prior: {run.path / FILE}")
    run.finish("complete")


def measured(config: LawPriorConfig, prior: Prior) -> PriorReport:
    """A prior on laws that it never saw, beside the same prior that is shown another law's table."""
    section = config.law_prior.measuring
    every = laws_of(section.laws, config.seed)
    rows = [
        *(Row(f"{k} adaptation steps", steps=k) for k in section.steps),
        Row("another law's table", steps=0, shuffled=True),
    ]
    found: list[Outcome] = []
    with ProgressBar("laws", len(rows) * len(every)) as progress:
        for row in rows:
            for i in range(len(every)):
                found.append(measure_policy(prior, row, section.laws, every, i, config.seed, section.programs))
                progress.update(len(found), solved=sum(o.solved_at > 0 for o in found))
    looks = looked_at([writing for _, writing in writings_of(prior.policy, every)])
    return PriorReport(tuple(found), section.programs, looks)


def evaluate(config: LawPriorConfig, request: EvaluationRequest) -> PriorReport:
    """The prior of a run on laws that it never saw.

    Raises:
        UserError: no run folder is named, or its training has not been saved yet.
    """
    if request.run is None:
        raise UserError("name the run folder of the prior: python evaluate.py runs/meta_symbolic/0")
    training = training_of(config)
    training.load_state_dict(load_checkpoint(request.run.checkpoints.for_evaluation()))
    return measured(config, training.prior())
