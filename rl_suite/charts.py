"""What TensorBoard shows first: five charts for each kind of experiment, and its settings for comparing runs.

Tags are regular expressions, as TensorBoard's custom scalars read them; everything else stays under Scalars.
"""

import contextlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.tensorboard.summary import hparams

from rl_suite.errors import UserError
from rl_suite.reading import is_plain_file, read_bytes

Layout = Mapping[str, Mapping[str, list[Any]]]


def _charts(**tags: list[str]) -> Layout:
    return {"overview": {title.replace("_", " "): ["Multiline", names] for title, names in tags.items()}}


CHARTS: dict[str, Layout] = {
    "sb3": _charts(
        returns=["rollout/ep_rew_mean", "eval/mean_reward"],
        success=["rollout/success_rate", "eval/success_rate"],
        critic=["train/explained_variance"],
        exploration=["train/entropy_loss", "train/std"],
        step_size=["train/approx_kl", "train/clip_fraction"],
    ),
    "distillation": _charts(
        return_on_new_tasks=["eval/mean_return", "eval/first_episode_return", "eval/last_episode_return"],
        regret=["eval/regret"],
        loss=["train/loss"],
        accuracy=["train/accuracy"],
        attention=["attention/.*"],
    ),
    "meta_learning": _charts(
        held_out_tasks=["eval/.*"],
        loss=["train/loss", "train/.*loss"],
        accuracy=["train/.*accuracy"],
        learning_rate=["train/learning_rate"],
        seconds=["time/cpu_seconds"],
    ),
    "meta_rl": _charts(
        success_before_and_after=["train/success.*", "eval/success.*"],
        return_before_and_after=["train/return.*"],
        meta_loss=["train/meta_loss"],
        parts_of_the_loss=["train/.*loss"],
        attention=["attention/.*"],
    ),
    "law_prior": _charts(loss=["train/loss"], held_out_laws=["eval/.*"], seconds=["time/cpu_seconds"]),
    "tuning": _charts(
        scores_of_trials=["search/score", "search/best"],
        trials_ended_early=["search/ended_early"],
        confirmed_on_test_tasks=["eval/own_settings", "eval/settings_found"],
    ),
    "symbolic": _charts(error=["eval/nrmse"], length_of_the_law=["eval/bits"], programs=["time/.*"]),
}  # fmt: skip
COMPARED = {  # kind -> tags that HParams shows beside the settings
    "sb3": ("eval/mean_reward", "rollout/ep_rew_mean"),
    "distillation": ("eval/mean_return", "train/loss"),
    "meta_learning": ("eval/accuracy", "train/loss"),
    "meta_rl": ("eval/success", "train/meta_loss"),
    "law_prior": ("train/loss",),
    "tuning": ("search/best",),
    "symbolic": ("eval/nrmse", "eval/bits"),
}
MOST_PICTURES, LARGEST_PICTURE = 20, 1_500_000  # bytes
HIDDEN = {"projector_sprite.png"}  # for the projector, not for people
LONGEST_LIST = 8  # longer ones are no settings that one compares


def describe(writer: Any, kind: str, settings: Mapping[str, Any]) -> None:
    """Write the charts and, except where stable-baselines3 does so itself, the settings of a run that begins."""
    if kind not in CHARTS:
        return
    writer.add_custom_scalars(CHARTS[kind])
    if kind == "sb3":
        return
    for summary in hparams(dict(flat(settings)), dict.fromkeys(COMPARED[kind], math.nan)):  # type: ignore[no-untyped-call]
        writer._get_file_writer().add_summary(summary)


def pictures_of(folder: Path) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Names and pixels (H, W, 3) of the pictures (.png) of a run folder, but damaged and too large ones."""
    from rl_suite.pictures import decode

    found = sorted(path for path in folder.rglob("*.png") if path.name not in HIDDEN and is_plain_file(path))
    small = [path for path in found if path.stat().st_size <= LARGEST_PICTURE]
    for path in small[:MOST_PICTURES]:
        with contextlib.suppress(UserError):  # one that cannot be read
            pixels = decode(read_bytes(path, LARGEST_PICTURE), path.name, colour=True)
            yield path.relative_to(folder).with_suffix("").as_posix(), pixels


def flat(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, bool | int | float | str]]:
    """Dotted keys and plain values.

    >>> dict(flat({"loop": {"steps": 3, "rates": [1, 2]}, "name": None}))
    {'loop.steps': 3, 'loop.rates': '1, 2'}
    """
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{before}{key}.")
        elif isinstance(value, list | tuple):
            if len(value) <= LONGEST_LIST:
                yield f"{before}{key}", ", ".join(map(str, value))
        elif isinstance(value, bool | int | float | str):
            yield f"{before}{key}", value
