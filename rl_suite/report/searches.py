"""Findings about searches: of settings beside an experiment's own, and of laws by a prior over their forms."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from rl_suite.evaluation.statistics import mean, stratified_bootstrap
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
    number,
    part,
)

FOUND, PLAIN = "settings found", "own settings"  # rows of a search of settings
OTHER_TABLE = "another law's table"  # row of a prior that looks at the wrong data
MOST_OUTCOMES = 1_000_000


def findings_of_settings(content: Mapping[str, Any]) -> Findings | None:
    """What a search of settings was worth; None of anything else."""
    rows = part(content, "results")
    found, plain = (estimate(part(rows, name, "mean")) for name in (FOUND, PLAIN))
    if content.get("measure") != "return" or found is None or plain is None:
        return None
    less = estimate(part(content, "first_row_minus", FOUND, "difference"))  # the experiment's own minus what was found
    gain = Estimate(found.value - plain.value)
    if less is not None and less.low is not None and less.high is not None:
        gain = Estimate(-less.value, -less.high, -less.low)
    shown = gain.low is not None and gain.low > 0
    worse = gain.high is not None and gain.high < 0
    said = "are better" if shown else "are worse" if worse else "are not shown to be better"
    count = number(part(rows, FOUND, "n")) or 0
    return Findings(
        verdict=f"The settings found {said} than the experiment's own: a return on test tasks of {found.says()}, "
        f"where the others reach {plain.says()}.",
        judgements=[
            Judgement(GOOD if shown else BAD if worse else OPEN, f"Difference: {gain.says()}."),
            Judgement(
                GOOD if count >= 5 else OPEN, f"{count:.0f} training seeds each, none of which the search has used."
            ),
        ],
        comparisons=[
            Comparison("Return on test tasks", [Row(FOUND, found, OWN), Row(PLAIN, plain, REFERENCE)], "Over seeds.")
        ],
        main=found,
        main_name="return on test tasks of the settings found",
        terms=["return", "interval", "held-out"],
    )


def findings_of_priors(content: Mapping[str, Any]) -> Findings | None:
    """How many unseen laws a prior finds within its programs; None of anything else."""
    programs, outcomes = number(content.get("programs")), content.get("outcomes")
    if programs is None or not isinstance(outcomes, list) or len(outcomes) > MOST_OUTCOMES:
        return None
    solved: dict[str, dict[str, list[float]]] = {}  # row -> law -> over seeds
    for outcome in outcomes:
        at = number(part(outcome, "solved_at"))
        row, law = part(outcome, "row"), part(outcome, "law")
        if at is not None and isinstance(row, str) and isinstance(law, str):
            laws = solved.setdefault(row[:LONGEST], {})
            laws.setdefault(f"{part(outcome, 'laws')} {law}"[:LONGEST], []).append(float(0 < at <= programs))
    shares = {row: _share(laws) for row, laws in solved.items()}
    own = next((row for row in shares if row != OTHER_TABLE), None)
    if own is None:
        return None
    count, control = len(solved[own]), shares.get(OTHER_TABLE)
    text = f"Of {count} unseen laws, {shares[own].says(percent=True)} are found within {programs:,.0f} programs"
    text += "." if control is None else f"; with another law's table {control.says(percent=True)}."
    judgements = [] if control is None else [_reads_its_table(shares[own], control)]
    bars = [Row(row, share, OWN if row == own else REFERENCE) for row, share in shares.items()]
    return Findings(
        verdict=text,
        judgements=judgements,
        comparisons=[
            Comparison(f"Laws found within {programs:,.0f} programs", bars, "Share of unseen laws.", percent=True)
        ],
        main=shares[own],
        main_name=f"share of unseen laws found within {programs:,.0f} programs",
        terms=["interval", "held-out"],
    )


def _share(laws: Mapping[str, list[float]]) -> Estimate:
    """Mean over laws of the mean over seeds; the interval draws laws again."""
    each = np.array([sum(values) / len(values) for values in laws.values()])
    if len(each) < 2:
        return Estimate(float(each.mean()))
    found = stratified_bootstrap(each, mean, seed=0)
    return Estimate(found.estimate, found.low, found.high) if math.isfinite(found.low) else Estimate(found.estimate)


def _reads_its_table(own: Estimate, control: Estimate) -> Judgement:
    if own.low is not None and control.high is not None and own.low > control.high:
        return Judgement(GOOD, "It reads the data: with another law's table it finds fewer, the intervals lie apart.")
    return Judgement(OPEN, "Not shown to read the data: with another law's table it finds about as many.")
