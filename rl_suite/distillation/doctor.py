"""Does a folder of histories hold what a student can learn to learn from?

``python -m rl_suite.distillation.doctor check FOLDER`` says so, line by line.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from rich.text import Text

from rl_suite.cli import PlainConsole, exit_code, module_command, printable
from rl_suite.distillation.histories import MANIFEST, Histories, Manifest, load_histories
from rl_suite.distillation.sources.rollout import look
from rl_suite.distillation.worlds import TaskFamily, begin_tasks
from rl_suite.trust import require_own_world

Verdict = Literal["good", "note", "problem"]
COLOURS: dict[Verdict, str] = {"good": "green", "note": "yellow", "problem": "red"}

STARTS = 64  # episodes that are begun to see where this world begins them
KNOWING = 0.03  # above the control, before "the actions know the task" is said
TEN_PERCENT = 0.1  # of the episodes at either end are compared, to see whether a history improves


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    verdict: Verdict
    text: str

    @property
    def colour(self) -> str:
        """For the console."""
        return COLOURS[self.verdict]


def examine(folder: Path, trust_code: bool = False) -> list[Finding]:
    """All findings about a folder of histories.

    Raises:
        UserError: there is nothing readable, or its world is somebody's code while ``trust_code`` is false.
    """
    histories, manifest, problems = load_histories(folder)
    if not trust_code:
        require_own_world(manifest.env_id, str(folder / MANIFEST))
    family = TaskFamily.named(manifest.env_id, manifest.env_options)
    return [*(Finding("problem", line) for line in problems), *diagnose(histories, manifest, family)]


def diagnose(histories: Histories, manifest: Manifest, family: TaskFamily) -> Iterator[Finding]:
    """All findings about histories of the worlds of ``family``."""
    wanted = manifest.histories - sum(shard.histories for shard in manifest.shards)
    shortest, longest = int(histories.steps.min()), int(histories.steps.max())
    lengths = f"{longest}" if shortest == longest else f"{shortest} to {longest}"
    summary = f"{len(histories)} histories of {lengths} steps of {manifest.env_id}"
    yield Finding("good", f"{summary}, source {manifest.source.get('name')}")
    if wanted:
        yield Finding("note", f"collection is not complete: {wanted} histories are missing")
    for check in (check_episodes, check_ends, check_learning, check_actions, check_labels, check_contexts):
        yield from check(histories, manifest)
    yield from check_world(histories, manifest, family)
    yield from check_tasks(histories, manifest, family)


def check_episodes(histories: Histories, manifest: Manifest) -> Iterator[Finding]:
    """Do episodes begin where they should?"""
    if not histories.first[:, 0].all():
        yield Finding("problem", "a history does not begin with an episode: windows would cross a hidden boundary")
    if (histories.first & ~histories.valid).any():
        yield Finding("problem", "an episode begins after the end of its history, in the padding")
    lengths: set[int] = set()
    for row, steps in zip(histories.first, histories.steps, strict=True):
        starts = np.flatnonzero(row)
        lengths |= set(np.diff(starts).tolist())
        if len(starts) and steps - starts[-1] > manifest.episode_length:  # the last one may be cut short
            lengths.add(int(steps - starts[-1]))
    if wrong := lengths - {manifest.episode_length}:
        yield Finding("problem", f"episodes of {sorted(wrong)} steps, where all should have {manifest.episode_length}")
    else:
        yield Finding("good", f"every episode has {manifest.episode_length} steps")


def check_ends(histories: Histories, manifest: Manifest) -> Iterator[Finding]:
    """Is the observation after the last step of an episode the last sight of it, and not the reset?"""
    seen, after, first = histories.observations, histories.next_observations, histories.first
    if seen.shape[2] == 0:
        return
    follows = (after[:, :-1] == seen[:, 1:]).all(-1)  # (N, T-1) next observation = observation of the next step
    there = histories.valid[:, 1:]
    inside, ends = ~first[:, 1:] & there, first[:, 1:] & there
    broken = float((~follows & inside).sum() / max(1, inside.sum()))
    if broken:
        yield Finding("problem", f"{broken:.1%} of the steps inside episodes do not follow from the step before")
    if ends.any() and follows[ends].all():
        moved = (seen[:, 1:] != seen[:, :-1]).any(-1)[inside].mean()
        verdict: Verdict = "problem" if moved > 0 else "note"
        yield Finding(
            verdict, "next_observations at episode ends are the first of the next episode (reset, not terminal)"
        )
    elif ends.any():
        yield Finding("good", "episode ends hold the last observation of the episode, not the reset")


def check_learning(histories: Histories, manifest: Manifest) -> Iterator[Finding]:
    """Do the histories improve? Only with the labels of an oracle is there something else to learn."""
    if not np.isfinite(histories.rewards).all():
        yield Finding("problem", "rewards hold NaN or infinity")
        return
    returns = histories.returns() if histories.in_step else None
    if returns is None or returns.shape[1] < 2:
        returns = _tenths(histories)
        unit = "step"
    else:
        unit = "episode"
    k = max(1, round(TEN_PERCENT * returns.shape[1]))
    early, late = returns[:, :k].mean(1), returns[:, -k:].mean(1)
    improving = float((late > early).mean())
    rewarded = float((histories.rewards * histories.valid).any(1).mean())
    text = f"return per {unit}: {early.mean():.3g} at first, {late.mean():.3g} at last; {improving:.0%} improve"
    bad: Verdict = "note" if manifest.source.get("labels") == "optimal" else "problem"
    yield Finding("good" if late.mean() > early.mean() else bad, text)
    if rewarded < 1:
        yield Finding("note", f"{1 - rewarded:.1%} of the histories never see a reward")


def check_actions(histories: Histories, manifest: Manifest) -> Iterator[Finding]:
    """Do all actions exist, are all tried, and does the behaviour become more certain?"""
    if (
        histories.actions.dtype.kind not in "iu"
        or histories.actions.min() < 0
        or (histories.actions.max() >= manifest.n_actions)
    ):
        yield Finding("problem", f"actions are not all of 0 to {manifest.n_actions - 1}")
        return
    part = _parts(histories, 3)
    entropies = [_entropy(histories.actions[histories.valid & (part == i)], manifest.n_actions) for i in range(3)]
    listed = " -> ".join(f"{entropy:.2f}" for entropy in entropies)
    yield Finding("note" if min(entropies) < 0.05 else "good", f"entropy of the actions, of its maximum: {listed}")


def check_labels(histories: Histories, manifest: Manifest) -> Iterator[Finding]:
    """Are the labels usable?"""
    labels, labelled = histories.labels, _labelled(histories)
    if labels.ndim == 3:
        sums = labels.astype(np.float64).sum(-1)[labelled]
        bad = labels.shape[2] != manifest.n_actions or bool(
            not np.isfinite(sums).all() or (np.abs(sums - 1) > 0.01).any()
        )
    else:
        bad = bool(labels.dtype.kind not in "iu" or (labels >= manifest.n_actions).any() or (labels < -1).any())
    if bad or not labelled.any():
        yield Finding("problem", "labels are not probabilities, or name actions that do not exist, or there are none")
    else:
        agree = float(_agreement(histories)[labelled].mean())
        yield Finding("good", f"the label allows the action that was taken in {agree:.1%} of the steps")


def check_contexts(histories: Histories, manifest: Manifest) -> Iterator[Finding]:
    """Where an oracle gives the labels: do the actions know the task before a reward told it?

    A student then reads the task off the actions of its context, and its own will tell it nothing. The control is
    what the labels of all other such steps in the same place say about the same action: of other tasks, mostly.
    """
    if manifest.source.get("labels") != "optimal":
        return
    unpaid = _labelled(histories) & (np.cumsum(histories.rewards != 0, axis=1) == 0)
    actions, labels = histories.actions[unpaid].astype(np.int64), histories.labels[unpaid]
    allowed = labels > 0 if labels.ndim == 2 else labels[:, None] == np.arange(manifest.n_actions)
    _, place = np.unique(histories.observations[unpaid], axis=0, return_inverse=True)
    several = np.bincount(place)[place] > 1 if len(place) else np.zeros(0, dtype=np.bool_)
    if not several.any():
        return
    sums = np.stack([np.bincount(place, weights=column) for column in allowed.T], axis=1)  # (places, actions)
    own = allowed[np.arange(len(actions)), actions]
    others = (sums[place, actions] - own)[several] / (np.bincount(place)[place] - 1)[several]
    agree, control = float(own[several].mean()), float(others.mean())
    text = f"before any reward {agree:.0%} of the actions are optimal, for other tasks in the same place {control:.0%}"
    if agree > control + KNOWING:
        yield Finding("note", f"{text}: they give the task away, which a student's own actions will not")
    else:
        yield Finding("good", text)


def check_world(histories: Histories, manifest: Manifest, family: TaskFamily) -> Iterator[Finding]:
    """Are the observations such as this world shows, and do episodes begin where it begins them?"""
    world = family.make(STARTS, "all")
    space, actions = world.observation_space, world.action_space
    if getattr(actions, "n", None) != manifest.n_actions:
        yield Finding("problem", f"{manifest.n_actions} actions, where the world has {actions}")
    if manifest.episode_length != family.episode_steps:
        yield Finding(
            "problem", f"episodes of {manifest.episode_length} steps; the world's have {family.episode_steps}"
        )
    streams = begin_tasks(world, family.tasks("all").choose(np.random.default_rng(0), STARTS), np.random.default_rng(0))
    world.start_episodes(world.all_rows, streams)
    starts = look(world)
    for name in ("observations", "next_observations"):
        if complaint := _unlike(getattr(histories, name)[histories.valid], space, starts):
            yield Finding("problem", f"{name} {complaint}")
            return
    shown = histories.observations[histories.valid & histories.first]
    if starts.shape[1] and (starts == starts[0]).all() and (shown.astype(starts.dtype) != starts[0]).any():
        wrong = shown[(shown.astype(starts.dtype) != starts[0]).any(-1)][0]
        yield Finding(
            "problem",
            f"an episode begins at {wrong.tolist()}, where this world begins all at {starts[0].tolist()}: numbers were "
            "cast, or first steps are marked where there are none",
        )
    else:
        yield Finding("good", "observations are such as the world shows")


def _unlike(seen: NDArray[Any], space: spaces.Space[Any], shown: NDArray[Any]) -> str | None:
    """What tells observations (n, d) apart from those of a space, of which some are ``shown`` (m, d)."""
    if seen.shape[1] != shown.shape[1]:
        return f"have {seen.shape[1]} numbers, where the world shows {shown.shape[1]}"
    if not np.isfinite(seen).all():
        return "hold NaN or infinity"
    if isinstance(space, spaces.Box):
        if np.issubdtype(space.dtype, np.floating) and seen.dtype.kind in "iu":
            return "are whole numbers, where the world shows real ones: they were cast"
        low, high = space.low.ravel(), space.high.ravel()
    else:
        if seen.dtype.kind not in "iu":
            return f"are real numbers, where the world shows {space}"
        sizes = np.atleast_1d(getattr(space, "nvec", getattr(space, "n", 1))).ravel()
        low, high = np.zeros(len(sizes)), sizes - 1
    if seen.shape[1] and ((seen < low) | (seen > high)).any():
        return f"lie outside what the world shows, {space}"
    return None


def check_tasks(histories: Histories, manifest: Manifest, family: TaskFamily) -> Iterator[Finding]:
    """Do the tasks belong to the training split, and do they cover it?"""
    if manifest.split != "train":
        yield Finding("problem", f"they are of the {manifest.split!r} split; a student learns from the train split")
    train = family.tasks("train")
    outside = ~train.has(histories.tasks)
    if outside.any():
        listed = np.unique(histories.tasks[outside])[:5].tolist()
        yield Finding("problem", f"{outside.sum()} histories are of tasks outside the train split: {listed}")
    distinct = len(np.unique(histories.tasks))
    if len(train) <= 10 * len(histories):
        covered = distinct / len(train)
        yield Finding("good" if covered > 0.9 else "note", f"{covered:.0%} of the {len(train)} training tasks appear")
    elif not outside.any():
        yield Finding("good", f"{distinct} different tasks, no leak from validation or test")


def _parts(histories: Histories, n: int) -> NDArray[np.int64]:
    """(N, T) in which of ``n`` equal parts of its history each step lies."""
    return np.arange(histories.n_steps) * n // histories.steps[:, None]


def _tenths(histories: Histories) -> NDArray[np.float64]:
    """Mean reward of ten equal parts of each history, (N, 10)."""
    rewards, part = histories.rewards.astype(np.float64), _parts(histories, 10)
    inside = [histories.valid & (part == i) for i in range(10)]
    return np.stack([(rewards * there).sum(1) / np.maximum(there.sum(1), 1) for there in inside], axis=1)


def _labelled(histories: Histories) -> NDArray[np.bool_]:
    """(N, T) steps that have a label."""
    labels = histories.labels
    there: NDArray[np.bool_] = histories.valid & ((labels != 0).any(-1) if labels.ndim == 3 else labels != -1)
    return there


def _agreement(histories: Histories) -> NDArray[np.bool_]:
    """(N, T) whether the label allows the action that was taken."""
    if histories.labels.ndim != 3:
        same: NDArray[np.bool_] = histories.labels == histories.actions
        return same
    actions = np.minimum(histories.actions.astype(np.int64), histories.labels.shape[2] - 1)
    allowed: NDArray[np.bool_] = np.take_along_axis(histories.labels, actions[..., None], 2)[..., 0] > 0
    return allowed


def _entropy(actions: NDArray[np.generic], n_actions: int) -> float:
    """Entropy of how often each action occurs, divided by that of a uniform choice."""
    counts = np.bincount(actions.ravel(), minlength=n_actions)
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log(p)).sum() / np.log(n_actions))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 1 where there is a problem, 2 where nothing could be read."""
    parser = argparse.ArgumentParser(prog=module_command("rl_suite.distillation.doctor"), description="History doctor.")
    parser.add_argument("command", choices=["check"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trust-code", action="store_true", help="import the world's module that the folder names")
    options = parser.parse_args(arguments)
    return exit_code(lambda: _print_findings(options.folder, options.trust_code))


def _print_findings(folder: Path, trust_code: bool) -> int:
    """1 where there is a problem."""
    findings = examine(folder, trust_code)
    console = PlainConsole(highlight=False, soft_wrap=True)
    for finding in findings:
        console.print(Text.assemble((f"{finding.verdict:7s}", finding.colour), " ", printable(finding.text)))
    return 1 if any(finding.verdict == "problem" for finding in findings) else 0


if __name__ == "__main__":
    sys.exit(main())
