"""Does a folder of histories hold what a student can learn to learn from?

``python -m rl_suite.distillation.doctor check FOLDER`` says so, line by line.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

from rl_suite.cli import PlainConsole, printable
from rl_suite.distillation.histories import Histories, Manifest, load_histories
from rl_suite.distillation.worlds import TaskFamily
from rl_suite.errors import UserError

Verdict = Literal["good", "note", "problem"]
COLOURS: dict[Verdict, str] = {"good": "green", "note": "yellow", "problem": "red"}

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


def examine(folder: Path) -> list[Finding]:
    """All findings about a folder of histories.

    Raises:
        UserError: there is nothing readable.
    """
    histories, manifest, problems = load_histories(folder)
    findings = [Finding("problem", line) for line in problems]
    wanted = manifest.histories - sum(shard.histories for shard in manifest.shards)
    summary = f"{len(histories)} histories of {histories.n_steps} steps of {manifest.env_id}"
    findings.append(Finding("good", f"{summary}, source {manifest.source.get('name')}"))
    if wanted:
        findings.append(Finding("note", f"collection is not complete: {wanted} histories are missing"))
    for check in (check_episodes, check_ends, check_learning, check_actions, check_labels):
        findings.extend(check(histories, manifest))
    findings.extend(check_tasks(histories, manifest))
    return findings


def check_episodes(histories: Histories, manifest: Manifest) -> Iterator[Finding]:
    """Do episodes begin where they should?"""
    if not histories.first[:, 0].all():
        yield Finding("problem", "a history does not begin with an episode: windows would cross a hidden boundary")
    gaps = {int(gap) for row in histories.first for gap in np.diff(np.flatnonzero(row))}
    if gaps - {manifest.episode_length}:
        yield Finding("problem", f"episodes of {sorted(gaps)} steps, where all should have {manifest.episode_length}")
    else:
        yield Finding("good", f"every episode has {manifest.episode_length} steps")


def check_ends(histories: Histories, manifest: Manifest) -> Iterator[Finding]:
    """Is the observation after the last step of an episode the last sight of it, and not the reset?"""
    seen, after, first = histories.observations, histories.next_observations, histories.first
    if seen.shape[2] == 0:
        return
    follows = (after[:, :-1] == seen[:, 1:]).all(-1)  # (N, T-1) next observation = observation of the next step
    inside, ends = ~first[:, 1:], first[:, 1:]
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
    """Do the histories improve?"""
    returns = histories.returns() if (histories.first == histories.first[0]).all() else None
    if returns is None or returns.shape[1] < 2:
        returns = _tenths(histories)
        unit = "step"
    else:
        unit = "episode"
    k = max(1, round(TEN_PERCENT * returns.shape[1]))
    early, late = returns[:, :k].mean(1), returns[:, -k:].mean(1)
    improving = float((late > early).mean())
    rewarded = float((returns.sum(1) != 0).mean())
    text = f"return per {unit}: {early.mean():.3g} at first, {late.mean():.3g} at last; {improving:.0%} improve"
    yield Finding("good" if late.mean() > early.mean() else "problem", text)
    if rewarded < 1:
        yield Finding("note", f"{1 - rewarded:.1%} of the histories never see a reward")


def check_actions(histories: Histories, manifest: Manifest) -> Iterator[Finding]:
    """Are all actions tried, and does the behaviour become more certain?"""
    third = histories.n_steps // 3
    entropies = [_entropy(part, manifest.n_actions) for part in np.split(histories.actions, [third, 2 * third], axis=1)]
    listed = " -> ".join(f"{entropy:.2f}" for entropy in entropies)
    yield Finding("note" if min(entropies) < 0.05 else "good", f"entropy of the actions, of its maximum: {listed}")


def check_labels(histories: Histories, manifest: Manifest) -> Iterator[Finding]:
    """Are the labels usable?"""
    labels = histories.labels
    if labels.ndim == 3:
        sums = labels.astype(np.float64).sum(-1)
        bad = bool(not np.isfinite(sums).all() or np.abs(sums - 1).max() > 0.01)
        agree = float((np.take_along_axis(labels, histories.actions[..., None].astype(np.int64), 2) > 0).mean())
    else:
        bad = bool((labels >= manifest.n_actions).any())
        agree = float((labels == histories.actions).mean())
    if bad:
        yield Finding("problem", "labels are not probabilities, or name actions that do not exist")
    yield Finding("good", f"the label allows the action that was taken in {agree:.1%} of the steps")


def check_tasks(histories: Histories, manifest: Manifest) -> Iterator[Finding]:
    """Do the tasks belong to the training split, and do they cover it?"""
    family = TaskFamily.named(manifest.env_id, manifest.env_options)
    train = family.tasks(manifest.split)
    outside = ~train.has(histories.tasks)
    if outside.any():
        listed = np.unique(histories.tasks[outside])[:5].tolist()
        yield Finding("problem", f"{outside.sum()} histories are of tasks outside the {manifest.split} split: {listed}")
    distinct = len(np.unique(histories.tasks))
    if len(train) <= 10 * len(histories):
        covered = distinct / len(train)
        yield Finding("good" if covered > 0.9 else "note", f"{covered:.0%} of the {len(train)} training tasks appear")
    else:
        yield Finding("good", f"{distinct} different tasks, no leak from validation or test")


def _tenths(histories: Histories) -> NDArray[np.float64]:
    """Mean reward of ten equal parts of each history."""
    parts = np.array_split(histories.rewards.astype(np.float64), 10, axis=1)
    return np.stack([part.mean(1) for part in parts], axis=1)


def _entropy(actions: NDArray[np.generic], n_actions: int) -> float:
    """Entropy of how often each action occurs, divided by that of a uniform choice."""
    counts = np.bincount(actions.ravel(), minlength=n_actions)
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log(p)).sum() / np.log(n_actions))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 1 where there is a problem, 2 where nothing could be read."""
    parser = argparse.ArgumentParser(prog="python -m rl_suite.distillation.doctor", description="History doctor.")
    parser.add_argument("command", choices=["check"])
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    try:
        findings = examine(options.folder)
    except UserError as error:
        sys.stderr.write(f"error: {printable(str(error))}\n")
        return 2
    console = PlainConsole(highlight=False, soft_wrap=True)
    for finding in findings:
        console.print(Text.assemble((f"{finding.verdict:7s}", finding.colour), " ", printable(finding.text)))
    return 1 if any(finding.verdict == "problem" for finding in findings) else 0


if __name__ == "__main__":
    sys.exit(main())
