"""The kinds of experiment, and the way from the command line to the one that is asked for.

This is the only file that knows them all. A new kind is a config model, a runner and a line here.
"""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rl_suite.config import ExperimentConfig
from rl_suite.errors import UserError
from rl_suite.loading import merge_blocks, parse_overrides, read_config, require_known, settings_of_block, validate

if TYPE_CHECKING:
    from rl_suite.run import Run  # imports torch, which --help need not wait for


@dataclass(frozen=True)
class Kind:
    """Where a kind of experiment lives, by dotted name, so that nothing is imported before it is needed."""

    config: str
    """``"module:Class"``, a subclass of ``ExperimentConfig``, in a module that imports no torch."""
    train: str
    """``"module:function"``, called as ``train(config, run)``."""
    evaluate: str
    """``"module:function"``, called as ``evaluate(config, request: EvaluationRequest)``.

    It returns something with ``tables()`` to print and ``save(path)`` (``rl_suite.evaluation.command.Reportable``).
    """
    player: str | None = None
    """``"module:function"``, called as ``evaluate`` is; returns the agent and the ``EvaluationSpec`` to watch it in.

    None for a kind without an agent that acts.
    """
    look: str | None = None
    """``"module:function"``, called with the player's agent; returns what it weighs (``recording.Look``), or None."""
    explorer: str | None = None
    """``"module:function"``, called as ``evaluate`` is; returns the attention of an episode for the page."""
    played: tuple[str, ...] = ()
    """What ``evaluate.py`` can play besides a run folder: "checkpoint", "baseline", "trust_pickle" (an SB3 zip)."""
    follow: str | None = None
    """``"module:function"``, called as ``follow(config, team)`` in every process but the first that torchrun starts.

    None for a kind that one process trains; ``ExperimentConfig.trained_alone`` says so, too.
    """


KINDS: dict[str, Kind] = {
    "sb3": Kind(
        config="rl_suite.sb3.config:SB3Config",
        train="rl_suite.sb3.experiment:train",
        evaluate="rl_suite.sb3.evaluation:evaluate",
        player="rl_suite.sb3.evaluation:player",
        look="rl_suite.sb3.watch:look_of",
        played=("checkpoint", "baseline", "trust_pickle"),
    ),
    "symbolic": Kind(
        config="rl_suite.symbolic.config:SymbolicConfig",
        train="rl_suite.symbolic.experiment:train",
        evaluate="rl_suite.symbolic.experiment:evaluate",
    ),
    "distillation": Kind(
        config="rl_suite.distillation.config:DistillationConfig",
        train="rl_suite.distillation.experiment:train",
        evaluate="rl_suite.distillation.experiment:evaluate",
        player="rl_suite.distillation.experiment:player",
        explorer="rl_suite.distillation.attention.explorer:explore",
        played=("checkpoint", "baseline"),
        follow="rl_suite.distillation.follow:follow",
    ),
    "meta_learning": Kind(
        config="rl_suite.meta_learning.config:MetaLearningConfig",
        train="rl_suite.meta_learning.experiment:train",
        evaluate="rl_suite.meta_learning.experiment:evaluate",
        played=("checkpoint",),
        follow="rl_suite.meta_learning.follow:follow",
    ),
    "meta_rl": Kind(
        config="rl_suite.meta_rl.config:MetaRLConfig",
        train="rl_suite.meta_rl.experiment:train",
        evaluate="rl_suite.meta_rl.experiment:evaluate",
        played=("checkpoint",),
    ),
    "law_prior": Kind(
        config="rl_suite.law_prior.config:LawPriorConfig",
        train="rl_suite.law_prior.experiment:train",
        evaluate="rl_suite.law_prior.experiment:evaluate",
    ),
    "tuning": Kind(
        config="rl_suite.tuning.config:TuningConfig",
        train="rl_suite.tuning.experiment:train",
        evaluate="rl_suite.tuning.experiment:evaluate",
    ),
}


@dataclass(frozen=True)
class EvaluationRequest:
    """What ``evaluate.py`` was asked to evaluate, besides the configuration."""

    run: "Run | None" = None
    """The run folder whose best checkpoint plays, if one was named."""
    checkpoint: Path | None = None
    """A checkpoint or SB3 zip file that plays instead."""
    baseline: str | None = None
    """A baseline that plays instead."""
    trust_pickle: bool = False
    """Whether an SB3 zip may be unpickled."""


def load_attribute(name: str) -> Any:
    """Import what ``"module:attribute"`` names."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def config_model(kind: str) -> type[ExperimentConfig]:
    """The schema of one kind."""
    require_known(kind, KINDS, "kind of experiment")
    model: type[ExperimentConfig] = load_attribute(KINDS[kind].config)
    return model


def load_experiment(path: Path, words: Sequence[str]) -> ExperimentConfig:
    """Read ``path``, apply the blocks and the ``key=value`` words, and validate the result.

    Words must be read by the experiment, and so must what its own block, the first that is named, sets by itself;
    ``defaults`` and further blocks, such as ``smoke``, serve many experiments.
    """
    raw = read_config(path)
    overrides = parse_overrides(words)
    merged = merge_blocks(raw, overrides)
    model = config_model(str(merged.get("kind")))
    known = {field for kind in KINDS for field in config_model(kind).model_fields}
    config = validate(model, merged, overrides, known, str(path))
    first = config.experiment.partition(",")[0]
    own_kind = raw["experiments"][first].get("kind", config.kind)
    if own_kind != config.kind:
        raise UserError(
            f"experiment={first} is of kind {own_kind}, and what follows makes it {config.kind}: leave it out"
        )
    alone = merge_blocks(raw, {"experiment": first})
    try:
        by_itself = validate(model, alone, {}, known, str(path))
    except UserError:  # a block that is whole only with the others or the words
        return config
    block = settings_of_block(raw["experiments"][first])
    if set(block) <= set(model.model_fields):  # one with sections of several kinds, such as ``smoke``, serves them all
        by_itself.require_used(block)
    return config


def describe_experiments(path: Path) -> list[tuple[str, str]]:
    """(name, one line) of every experiment that the file offers."""
    return [(name, str(block.get("about", ""))) for name, block in read_config(path)["experiments"].items()]
