"""Findings about learners of tasks: accuracy over episodes beside their controls, adaptation, forgetting."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from rl_suite.report.findings import (
    BAD,
    GOOD,
    LONGEST,
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
WAYS = re.compile(r"(\d+)-way(?: \d+-shot)?")


class Measure(NamedTuple):
    """What the rows of a table count."""

    text: str
    lower: bool = False
    """Whether less is better."""
    share: bool = True
    """Whether it is a share, and so shown in percent."""


ERROR = Measure("squared error on tasks never seen", lower=True, share=False)
MEASURES = {
    "accuracy": Measure("accuracy on classes never seen"),
    "success": Measure("success on tasks never seen"),
    "squared error": ERROR,
}


def findings_of_episodes(content: Mapping[str, Any]) -> Findings | None:
    """The findings of groups of rows with a mean over episodes each; None where there are none."""
    groups = {}
    for name, group in items(content):
        rows = [(key, value, row) for key, row in items(group) if (value := estimate(part(row, "mean")))]
        if rows and name not in ("settings", "agents"):
            groups[name] = rows
    if not groups:
        return None
    name, rows = next(iter(groups.items()))
    ways = WAYS.search(name) or WAYS.search(_text(content, "title"))
    title = ways[0] if ways else name
    measure = MEASURES.get(_text(content, "measure")) or (MEASURES["accuracy"] if ways else ERROR)
    label, main, row = rows[0]
    told = f"{ways[0]}, {label}" if ways else label
    text = f"{_first_upper(told)}: {measure.text} is {main.says(percent=measure.share)}."
    others = [(key, value) for key, value, _ in rows[1:] if "shuffled" not in key]
    if others:
        text += " Beside it: " + "; ".join(f"{key} {value.says(percent=measure.share)}" for key, value in others[:3])
        text += "."
    return Findings(
        verdict=text,
        judgements=[*_judge(title, rows, measure, part(content, "first_row_minus")), *_count(number(part(row, "n")))],
        comparisons=[_comparison(title if g == name else g, group, measure) for g, group in groups.items()],
        main=main,
        main_name=f"{title}: {label}",
        terms=["n-way k-shot", "support set", "worst decile", "interval", "held-out", "chance level"],
    )


def _text(content: Mapping[str, Any], key: str) -> str:
    value = content.get(key)
    return value[:LONGEST] if isinstance(value, str) else ""


def _first_upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _chance(title: str) -> float | None:
    ways = WAYS.search(title)
    return 1 / int(ways[1]) if ways and 0 < int(ways[1]) < 10**6 else None


def _comparison(title: str, rows: list[tuple[str, Estimate, Any]], measure: Measure) -> Comparison:
    bars = [Row(key, value, REFERENCE if i else OWN) for i, (key, value, _) in enumerate(rows)]
    explanation = f"{_first_upper(measure.text)}{'; lower is better' if measure.lower else ''}."
    chance = _chance(title) if measure.share else None
    return Comparison(_first_upper(title), bars, explanation, percent=measure.share, chance=chance)


def _judge(title: str, rows: list[tuple[str, Estimate, Any]], measure: Measure, paired: Any) -> list[Judgement]:
    """Does it read the support set; does it beat what needs no training?"""
    main, found, chance = rows[0][1], [], _chance(title) if measure.share else None
    for key, value, _ in rows[1:]:
        known = value.says(percent=measure.share)
        gap = estimate(part(paired, key, "difference"))
        if "shuffled" in key and chance is not None:
            if value.low is not None and value.high is not None:
                fell = value.low <= chance <= value.high
                said = f"With shuffled support labels it is at {known}, chance is {100 * chance:.3g} %: "
                said += "what it knows comes from the examples." if fell else "it does not fall to chance."
                found.append(Judgement(GOOD if fell else BAD, said))
        elif key.startswith(CONTROLS) or any(word in key for word in OTHER_SUPPORT):
            what = f"{key} ({known})"
            found.append(_apart(main, value, what, measure.lower) if gap is None else _differs(gap, what, measure))
    return found


CONTROLS = ("untrained", "unadapted", "nearest centroid", "0 steps")  # rows by how they begin
OTHER_SUPPORT = ("shuffled", "another task")  # rows that adapt to what does not belong to the task


def _differs(gap: Estimate, what: str, measure: Measure) -> Judgement:
    """A difference over the same tasks; ``gap`` is the first row minus the other."""
    if gap.low is None or gap.high is None:
        return Judgement(OPEN, f"Not shown to be better than {what}: the difference has no interval.")
    scale, unit = (100.0, " points") if measure.share else (1.0, "")
    shown = Estimate(scale * gap.value, scale * gap.low, scale * gap.high)
    said = f"the difference over the same tasks is {shown.says()}{unit}."
    if gap.low <= 0 <= gap.high:
        return Judgement(OPEN, f"Not shown to be better than {what}: {said}")
    better = (gap.value < 0) == measure.lower
    return Judgement(GOOD if better else BAD, f"{'Better' if better else 'Worse'} than {what}: {said}")


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
