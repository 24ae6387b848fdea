"""Findings about learners of tasks: accuracy over episodes beside their controls, adaptation, forgetting."""

import re
from collections.abc import Mapping
from typing import Any

from rl_suite.report.findings import (
    BAD,
    GOOD,
    OPEN,
    OWN,
    REFERENCE,
    Comparison,
    Estimate,
    Findings,
    Judgement,
    Row,
    estimate,
    items,
    number,
    part,
)

FEW_EPISODES = 100
WAYS = re.compile(r"(\d+)-way")


def findings_of_episodes(content: Mapping[str, Any]) -> Findings | None:
    """The findings of groups of rows with a mean over episodes each; None where there are none."""
    groups = {}
    for name, group in items(content):
        rows = [(key, value, row) for key, row in items(group) if (value := estimate(part(row, "mean")))]
        if rows and name not in ("settings", "agents"):
            groups[name] = rows
    if not groups:
        return None
    title, rows = next(iter(groups.items()))
    error = not WAYS.search(title)  # regression reports squared errors, classification accuracies
    label, main, row = rows[0]
    text = (
        f"{_first_upper(label)}, the squared error on tasks never seen is {main.says()}."
        if error
        else f"On classes never seen, {title} accuracy is {main.says(percent=True)}."
    )
    others = [(key, value) for key, value, _ in rows[1:] if "shuffled" not in key]
    if others:
        text += " Beside it: " + "; ".join(f"{key} {value.says(percent=not error)}" for key, value in others[:3]) + "."
    return Findings(
        verdict=text,
        judgements=[*_judge(title, rows, error), *_count(number(part(row, "n")))],
        comparisons=[_comparison(name, group) for name, group in groups.items()],
        main=main,
        main_name=f"{title}: {label}",
        terms=["n-way k-shot", "support set", "worst decile", "interval", "held-out", "chance level"],
    )


def _first_upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _chance(title: str) -> float | None:
    ways = WAYS.search(title)
    return 1 / int(ways[1]) if ways and 0 < int(ways[1]) < 10**6 else None


def _comparison(title: str, rows: list[tuple[str, Estimate, Any]]) -> Comparison:
    chance = _chance(title)
    bars = [Row(key, value, REFERENCE if i else OWN) for i, (key, value, _) in enumerate(rows)]
    if chance is None:
        return Comparison(_first_upper(title), bars, "Squared error on tasks never seen; lower is better.")
    return Comparison(_first_upper(title), bars, "Accuracy on classes never seen.", percent=True, chance=chance)


def _judge(title: str, rows: list[tuple[str, Estimate, Any]], error: bool) -> list[Judgement]:
    """Does it read the support set; does it beat what needs no training?"""
    main, found, chance = rows[0][1], [], _chance(title)
    for key, value, _ in rows[1:]:
        if "shuffled" in key:
            if chance is not None and value.low is not None and value.high is not None:
                fell = value.low <= chance <= value.high
                known = f"it is at {value.says(percent=True)}, chance is {100 * chance:.3g} %"
                found.append(
                    Judgement(
                        GOOD if fell else BAD,
                        f"With shuffled support labels {known}: "
                        + ("what it knows comes from the examples." if fell else "it does not fall to chance."),
                    )
                )
            elif error:
                found.append(_apart(main, value, f"the same learner on shuffled targets ({value.says()})", lower=True))
        elif key.startswith(("untrained", "unadapted", "nearest centroid")):
            found.append(_apart(main, value, f"{key} ({value.says(percent=not error)})", lower=error))
    return found


def _apart(main: Estimate, other: Estimate, what: str, lower: bool) -> Judgement:
    """Whether the intervals lie apart, which is more than a difference needs; overlapping ones show none here."""
    below, above = (main, other) if lower else (other, main)  # as they lie if it is better
    if below.high is not None and above.low is not None and below.high < above.low:
        return Judgement(GOOD, f"Better than {what}: the intervals lie apart.")
    if above.high is not None and below.low is not None and above.high < below.low:
        return Judgement(BAD, f"Worse than {what}: the intervals lie apart.")
    return Judgement(OPEN, f"Not shown to be better than {what}: the intervals overlap.")


def _count(count: float | None) -> list[Judgement]:
    if count is None:
        return []
    if count < FEW_EPISODES:
        return [Judgement(OPEN, f"Only {count:.0f} episodes were measured.")]
    return [Judgement(GOOD, f"{count:.0f} episodes of tasks that training never saw.")]


def findings_of_sequences(content: Mapping[str, Any]) -> Findings | None:
    """The findings of continual learning: strategies with their average accuracy; None where there are none."""
    comparisons, best, told = [], None, ""
    for name, group in items(content):
        measured = [
            (strategy, accuracy, estimate(part(row, "backward_transfer")))
            for strategy, row in items(group)
            if (accuracy := estimate(part(row, "average_accuracy"))) is not None
        ]
        if not measured:
            continue
        bars = [
            Row(strategy, accuracy, OWN, f"backward transfer {back.says()}" if back else "")
            for strategy, accuracy, back in measured
        ]
        comparisons.append(
            Comparison(
                f"Average accuracy, {name.replace('_', ' ')}",
                bars,
                "After the last task, over all tasks.",
                percent=True,
            )
        )
        naive = next((accuracy for strategy, accuracy, _ in measured if strategy == "naive"), None)
        rivals = [(strategy, accuracy) for strategy, accuracy, _ in measured if strategy not in ("naive", "joint")]
        if rivals:
            strategy, accuracy = max(rivals, key=lambda pair: pair[1].value)
            told += f" {_first_upper(name.replace('_', ' '))}: highest is {strategy} with {accuracy.says(percent=True)}"
            told += f" (naive training: {naive.says(percent=True)})." if naive else "."
            best = best or accuracy
    if not comparisons:
        return None
    notes = [Judgement(OPEN, "The highest of several noisy values is not thereby the best: compare the intervals.")]
    return Findings(
        told.strip(),
        notes,
        comparisons,
        best,
        "average accuracy",
        ["backward transfer", "forward transfer", "interval"],
    )
