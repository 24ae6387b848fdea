"""Which settings the chosen problem and learner read. This module imports no torch.

A setting that nothing reads would be an option that does nothing: asked for, it is refused with its name.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rl_suite.meta_learning.sections import MetaLearningSection

Used = Callable[[MetaLearningSection], bool]

ROOT = "meta_learning"
LESSONS = ("continual", "continual_worlds")
"""Problems of which one task taught is one step of the loop; how many there are, the sequences say."""
ON_PICTURES = ("few_shot", "few_shot_gradient", "few_shot_taml")
BY_GRADIENTS = ("sinusoid", "few_shot_gradient")
OF_TRAINING = ("steps", "tasks_per_step", "outer_lr", "final_outer_lr", "warmup", "validation_tasks", "test_tasks")
"""Settings of the loop that such problems do not read."""
STRATEGY_OPTIONS: dict[str, tuple[str, ...]] = {
    "ewc": ("ewc_lambda", "fisher_samples"),
    "online_ewc": ("ewc_lambda", "fisher_samples", "decay"),
    "si": ("si_strength", "damping"),
    "lwf": ("temperature",),
    "replay": ("buffer_size", "policy"),
    "gdumb": ("buffer_size", "memory_passes"),
}
"""Strategy of ``continual`` -> what it reads of ``continual.strategies``; the others read nothing."""
WORLD_STRATEGY_OPTIONS: dict[str, tuple[str, ...]] = {
    "ewc": ("ewc_lambda", "fisher_samples"),
    "replay": ("buffer_size", "replay_batch", "replay_strength"),
}
"""The same for ``continual_worlds``."""


def unused(section: MetaLearningSection, given: Mapping[str, object]) -> str | None:
    """The dotted name of the first given setting that nothing reads, if there is one.

    Args:
        section: the whole resolved section.
        given: the settings to be looked at, as nested mappings below ``meta_learning``.
    """
    return next((name for name in _names(given) if not is_used(section, name)), None)


def is_used(section: MetaLearningSection, name: str) -> bool:
    """Whether the problem and the learner of a section read the setting ``name`` (dotted, below ``meta_learning``)."""
    part, _, key = name.partition(".")
    if not key:
        return True
    if part == "continual":
        return _continual(section, key)
    rule = RULES[part].get(key.partition(".")[0], _always)
    return _reads_part(section, part) and rule(section)


def used_part(section: MetaLearningSection, part: str) -> dict[str, Any]:
    """The settings of one part that are read, as plain values for a report."""
    values = getattr(section, part).model_dump(mode="json")
    return {name: value for name, value in values.items() if is_used(section, f"{part}.{name}")}


def _names(given: Mapping[str, object], prefix: str = "") -> Iterator[str]:
    for key, value in given.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, Mapping) and value and name not in WHOLE:
            yield from _names(value, name)
        else:
            yield name


WHOLE = ("pictures.jitter", "continual_worlds.kwargs", "continual_worlds.policy", "continual_worlds.ppo")
"""Sections that are read as a whole."""


def _reads_part(section: MetaLearningSection, part: str) -> bool:
    readers: dict[str, tuple[str, ...]] = {
        "loop": (*ON_PICTURES, *BY_GRADIENTS, *LESSONS),
        "gradient": BY_GRADIENTS,
        "sinusoid": ("sinusoid",),
        "pictures": ON_PICTURES,
        "few_shot": ON_PICTURES,
        "taml": ("few_shot_taml",),
        "continual_worlds": ("continual_worlds",),
    }
    return section.problem in readers[part]


def _continual(section: MetaLearningSection, key: str) -> bool:
    if section.problem != "continual":
        return False
    part, _, rest = key.partition(".")
    if part == "per_sequence" and rest:
        sequence, _, rest = rest.partition(".")
        if sequence not in section.continual.sequences:
            return False
    if part in ("strategies", "per_sequence") and rest:
        return _asked_for(section, STRATEGY_OPTIONS, rest)
    return True


def _asked_for(section: MetaLearningSection, options: Mapping[str, tuple[str, ...]], key: str) -> bool:
    return any(section.learner in ("all", strategy) and key in own for strategy, own in options.items())


def _always(section: MetaLearningSection) -> bool:
    return True


def _not_in_lessons(section: MetaLearningSection) -> bool:
    return section.problem not in LESSONS


def _convolves(section: MetaLearningSection) -> bool:
    return section.problem == "few_shot_gradient" and section.gradient.network != "dense"


def _metric(section: MetaLearningSection) -> bool:
    return section.problem == "few_shot"


def _jitters_at_test(section: MetaLearningSection) -> bool:
    return _metric(section) and section.pictures.jitter is not None


def _on_drawings(section: MetaLearningSection) -> bool:
    return section.pictures.drawings


def _on_own_pictures(section: MetaLearningSection) -> bool:
    return not section.pictures.drawings


def _encodes(section: MetaLearningSection) -> bool:
    return section.problem != "few_shot_gradient" or section.gradient.network == "wide"


def _in_worlds(key: str) -> Used:
    return lambda section: _asked_for(section, WORLD_STRATEGY_OPTIONS, key)


RULES: dict[str, dict[str, Used]] = {
    "loop": dict.fromkeys(OF_TRAINING, _not_in_lessons),
    "gradient": {
        "order": lambda s: s.learner in ("maml", "anil", "meta_sgd"),
        "anneal_steps": lambda s: s.learner == "maml_plus_plus",
        "measure": lambda s: s.gradient.inequality > 0,
        "entropy": lambda s: s.problem == "few_shot_gradient",
        "network": lambda s: s.problem == "few_shot_gradient",
        "shared_head": lambda s: s.problem == "few_shot_gradient",
        "norm": _convolves,
        "batch_norm": lambda s: _convolves(s) and s.gradient.norm == "batch",
        "width": lambda s: s.problem == "few_shot_gradient" and s.gradient.network != "wide",
        "down": lambda s: _convolves(s) and s.gradient.network == "conv4",
    },
    "sinusoid": {},
    "pictures": {"framed": _on_drawings, "colour": _on_own_pictures, "test_share": _on_own_pictures},
    "few_shot": {
        "widths": _encodes,
        "distance": lambda s: _metric(s) and s.learner == "prototypical",
        "weight_decay": _metric,
        "symmetric": _metric,
        "autocast": _metric,
        "test_copies": _jitters_at_test,
        "test_jitter": lambda s: _jitters_at_test(s) and s.few_shot.test_copies > 0,
        "one_shot_episodes": _metric,
        "runs": lambda s: _metric(s) and s.pictures.drawings,
    },
    "taml": {
        "weighted_support": lambda s: max(s.pictures.train_shot, s.pictures.k_shot) > 1,
        "step_rates": lambda s: s.taml.inner_steps > 1,
    },
    "continual_worlds": {
        key: _in_worlds(key) for key in sorted({key for own in WORLD_STRATEGY_OPTIONS.values() for key in own})
    },
}
"""Section -> setting -> when it is read by the problems that read the section; settings without a rule: always."""
