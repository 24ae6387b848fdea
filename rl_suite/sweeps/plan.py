"""What a sweep is to do: experiments times seeds, read from the command line or given by a program."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rl_suite.config import ExperimentConfig
from rl_suite.errors import UserError
from rl_suite.experiments import load_experiment
from rl_suite.loading import merge_blocks, parse_overrides, read_config, split_blocks
from rl_suite.naming import beside_others, parse_seeds

OWN_KEYS = ("seeds", "executor", "workers")
"""Words that make a call of ``train.py`` a sweep; ``experiment`` and ``seed`` then name several."""


@dataclass(frozen=True)
class Plan:
    """Experiments, each with all seeds, and who runs them."""

    experiments: Sequence[ExperimentConfig]
    """One configuration for each, with the first seed."""
    seeds: Sequence[int]
    executor: str = "serial"
    workers: int | None = None
    notes: Sequence[str] = ()
    """What the user should know before it begins."""

    def __len__(self) -> int:
        return len(self.experiments) * len(self.seeds)

    def __getitem__(self, index: int) -> ExperimentConfig:
        """The configuration of a run: first those of all experiments with the first seed, then with the second."""
        seed, experiment = divmod(index, len(self.experiments))
        return self.experiments[experiment].model_copy(update={"seed": self.seeds[seed]})

    def __iter__(self) -> Iterator[ExperimentConfig]:
        return (self[index] for index in range(len(self)))


def is_sweep(words: Sequence[str]) -> bool:
    """Whether the words of a command line ask for a sweep."""
    return any(word.partition("=")[0] in OWN_KEYS for word in words)


def read_plan(config: Path, words: Sequence[str]) -> Plan:
    """The sweep of ``experiment=a,b seeds=0-9 executor=processes workers=4 key=value ...``.

    A block that is a modifier, such as ``smoke``, applies to every experiment that is named; settings do, too. Every
    configuration is validated before the first job begins.

    Raises:
        UserError: whatever is wrong with the words or the configurations.
    """
    own = [word for word in words if word.partition("=")[0] in (*OWN_KEYS, "experiment", "seed")]
    rest = [word for word in words if word not in own]
    given = parse_overrides(own)
    if "seed" in given and "seeds" in given:
        raise UserError("seed= and seeds= say the same: leave one out")
    raw = read_config(config)
    said = next((word for word in own if word.partition("=")[0] in ("seed", "seeds")), None)
    seeds = parse_seeds(said or f"seed={raw['defaults'].get('seed', 0)}")
    workers = given.get("workers")
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int)):
        raise UserError(f"workers must be a whole number (got {workers!r})")
    experiments, notes = [], []
    for blocks in split_blocks(raw, merge_blocks(raw, given)["experiment"]):
        each = [f"experiment={blocks}", *rest]
        load_experiment(config, [*each, f"seed={max(seeds)}"])
        free, note = beside_others(load_experiment(config, [*each, f"seed={seeds[0]}"]), each)
        experiments.append(free)
        notes += [note] if note else []
    if len({config.folder_name for config in experiments}) < len(experiments):
        raise UserError("name= would put several experiments into one folder: leave it out, or choose runs_dir=...")
    return Plan(experiments, seeds, str(given.get("executor", "serial")), workers, notes)


def make_plan(
    experiments: Sequence[str],
    seeds: Sequence[int],
    words: Sequence[str],
    config: Path,
    executor: str,
    workers: int | None,
) -> Plan:
    """The same from a program; ``words`` are further settings of all experiments."""
    own = [f"experiment={','.join(experiments)}", f"seeds={','.join(map(str, seeds))}", f"executor={executor}"]
    return read_plan(config, [*own, *([] if workers is None else [f"workers={workers}"]), *words])
