"""Where a run goes: the folder of its experiment, or one beside it where that holds a run of other settings.

The folder's name says what was changed, so that ``ppo.gamma=0.9`` and ``ppo.gamma=0.99`` can be told apart, and
``name=`` chooses another. ``seed=0,1,2`` is several runs.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence

from rl_suite.config import ExperimentConfig
from rl_suite.errors import UserError
from rl_suite.run import Run

NOT_SETTINGS = ("experiment", "seed", "runs_dir", "name", "device", "torch_threads", "data", "target")
LONGEST_TAG, DIGEST = 40, 6  # characters
MOST_SEEDS = 10_000


def each_seed(words: Sequence[str]) -> Iterator[list[str]]:
    """The words once for every seed of ``seed=0,1,2`` or ``seed=0-4``; as they are otherwise.

    Raises:
        UserError: a range that runs backwards, or too many seeds.
    """
    place = next((i for i, word in enumerate(words) if word.startswith("seed=")), None)
    text = "" if place is None else words[place].removeprefix("seed=")
    if place is None or not re.fullmatch(r"\d{1,10}([,-]\d{1,10})+", text):
        yield list(words)
        return
    for seed in parse_seeds(words[place]):
        yield [*words[:place], f"seed={seed}", *words[place + 1 :]]


def parse_seeds(word: str) -> list[int]:
    """The seeds of a word such as ``seed=0,3-5``, each once.

    Raises:
        UserError: it is no list of seeds, has a range that runs backwards, or names too many.

    >>> parse_seeds("seeds=0,3-5")
    [0, 3, 4, 5]
    """
    seeds: dict[int, None] = {}
    for part in word.partition("=")[2].split(","):
        first, _, last = part.partition("-")
        if not re.fullmatch(r"\d{1,10}(-\d{1,10})?", part) or int(last or first) < int(first):
            raise UserError(f"{word!r}: seeds are written as 0,1,2 or 0-4")
        if int(last or first) - int(first) + len(seeds) >= MOST_SEEDS:
            raise UserError(f"{word!r}: more than {MOST_SEEDS} seeds")
        seeds |= dict.fromkeys(range(int(first), int(last or first) + 1))
    return list(seeds)


def beside_others(config: ExperimentConfig, words: Sequence[str]) -> tuple[ExperimentConfig, str | None]:
    """The configuration with a free name if its folder holds a run of other settings, and what to say about it.

    Args:
        config: as it was loaded.
        words: of the command line, which say what was changed.
    """
    difference = None if config.name else Run.difference(config)
    if difference is None:
        return config, None
    free = config.model_copy(update={"name": f"{config.folder_name}+{tag(config, words)}"})
    return free, f"{Run.place(config)} holds a run of other settings ({difference}); this one is {Run.place(free)}"


def tag(config: ExperimentConfig, words: Sequence[str]) -> str:
    """Such as ``gamma-0.9_n_steps-64``: the last part of every key that was set, with its value.

    >>> from rl_suite.experiments import load_experiment
    >>> from rl_suite.cli import DEFAULT_CONFIG
    >>> words = ["experiment=darkroom", "seed=3", "ppo.gamma=0.9", "policy.kwargs={net_arch: [8]}"]
    >>> tag(load_experiment(DEFAULT_CONFIG, words), words)
    'gamma-0.9_kwargs-net_arch-8'
    """
    pairs = [word.partition("=") for word in words]
    said = [f"{key.split('.')[-1]}-{value}" for key, _, value in pairs if key not in NOT_SETTINGS]
    text = "_".join(re.sub(r"-*[^\w.+-]+-*", "-", part).strip("-") for part in said)
    if text and len(text) <= LONGEST_TAG:
        return text
    settings = json.dumps(config.model_dump(mode="json", exclude={"runs_dir", "name", "seed"}), sort_keys=True)
    digest = hashlib.sha256(settings.encode()).hexdigest()[:DIGEST]
    return f"{text[: LONGEST_TAG - DIGEST - 1]}-{digest}" if text else digest
