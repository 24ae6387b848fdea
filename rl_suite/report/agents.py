"""Findings about agents that played: returns, success, trials, and the controls of durotaxis."""

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
    sentences,
)

REFERENCES = ("random", "oracle", "source", "scripted")
FEW_EPISODES = 30  # below this an interval of a mean is itself uncertain


def findings_of_agents(content: Mapping[str, Any]) -> Findings | None:
    """The findings of an ``evaluation.json`` with ``agents``; None if no agent of it can be read."""
    agents = {name: agent for name, agent in items(content.get("agents")) if estimate(part(agent, "iqm"))}
    own = next((name for name in agents if not name.startswith(REFERENCES)), None)
    if own is None:
        return None
    controls = part(content, f"controls of {own}")
    if number(part(controls, "chance_level")) is not None and isinstance(controls.get("rows"), list):
        return _durotaxis(content, agents, own, controls)
    main = estimate(part(agents[own], "iqm"))
    assert main is not None
    judgements = [*_against_random(content, own), *_sizes(content, agents[own])]
    return Findings(
        verdict=_sentence(content, agents, own, main),
        judgements=judgements,
        comparisons=[_returns(agents, own), *_successes(agents, own)],
        main=main,
        main_name="return of an episode, IQM",
        terms=[
            "return",
            "IQM",
            "interval",
            "held-out",
            *(["oracle", "share of the oracle"] if "oracle" in agents else []),
        ],
    )


def _sentence(content: Mapping[str, Any], agents: Mapping[str, Any], own: str, main: Estimate) -> str:
    share, random = number(part(agents[own], "share_of_oracle")), estimate(part(agents, "random", "iqm"))
    curve = [point for point in map(estimate, part(agents[own], "in_context_curve") or []) if point is not None]
    text = f"On held-out episodes the {own} agent returns {main.says()}"
    if random is not None and own != "random":
        text += f", where the random agent returns {random.says()}"
    if share is not None:
        text += f": {100 * share:.0f} % of the way from random to the oracle"
    text += "."
    if len(curve) > 1:
        first, last = curve[0].value, curve[-1].value
        text += f" Within a trial it goes from {first:.3g} in the first episode to {last:.3g} in the last."
    return text


def _against_random(content: Mapping[str, Any], own: str) -> list[Judgement]:
    gain = estimate(part(content, "against_random", own, "paired_difference_of_means"))
    if gain is None or gain.low is None or gain.high is None:
        return []
    if gain.low > 0:
        return [Judgement(GOOD, f"Better than the random agent on the same episodes: by {gain.says()}.")]
    if gain.high < 0:
        return [Judgement(BAD, f"Worse than the random agent on the same episodes: by {gain.says()}.")]
    return [Judgement(BAD, f"Not shown to be better than the random agent: the difference is {gain.says()}.")]


def _sizes(content: Mapping[str, Any], agent: object) -> list[Judgement]:
    """How much was played."""
    returns = part(agent, "returns")
    count = sum(len(row) for row in returns if isinstance(row, list)) if isinstance(returns, list) else 0
    if not count:
        return []
    if count < FEW_EPISODES:
        return [Judgement(OPEN, f"Only {count} episodes were played: the interval itself is rough.")]
    return [Judgement(GOOD, f"{count} held-out episodes, the same for every agent.")]


def _returns(agents: Mapping[str, Any], own: str) -> Comparison:
    rows = [
        Row(name, value, OWN if name == own else REFERENCE)
        for name, agent in agents.items()
        if (value := estimate(part(agent, "iqm"))) is not None
    ]
    return Comparison("Return of an episode", rows, "IQM with its interval; the same episodes for every agent.")


def _successes(agents: Mapping[str, Any], own: str) -> list[Comparison]:
    rows = [
        Row(name, value, OWN if name == own else REFERENCE)
        for name, agent in agents.items()
        if (value := estimate(agent.get("success_rate"))) is not None
    ]
    return [Comparison("Success", rows, "Share of the episodes that reached the goal.", percent=True)] if rows else []


def _durotaxis(
    content: Mapping[str, Any], agents: Mapping[str, Any], own: str, controls: Mapping[str, Any]
) -> Findings:
    chance = number(controls["chance_level"]) or 0.0
    values = {
        (str(row.get("field")), str(row.get("measure"))): (estimate(row.get("value")), estimate(row.get("minus_flat")))
        for row in controls["rows"]
        if isinstance(row, Mapping)
    }
    gain = values.get(("gradient", "durotactic_index"), (None, None))[1]
    won = values.get(("gradient", "is_success"), (None, None))[0]
    flags = sentences(controls.get("flags"))
    shown = gain is not None and gain.low is not None and gain.low > 0
    verdict = (
        "The colony steers up the gradient"
        if shown and not flags
        else "The colony steers up the gradient, with reservations"
        if shown
        else "Durotaxis is not shown"
    )
    if gain is not None:
        verdict += f": its durotactic index is {gain.says()} above that on flat ground"
    if won is not None:
        verdict += (
            f"; it reaches the goal in {won.says(percent=True)} of the episodes (a blind walk: {100 * chance:.0f} %)"
        )
    judgements = [Judgement(BAD, f"{flag[:1].upper()}{flag[1:]}.") for flag in flags]
    if not flags:
        judgements.append(
            Judgement(GOOD, "No control speaks against it: flat ground, and the field turned by 90 and 180 degrees.")
        )
    judgements += [*_against_random(content, own), *_sizes(content, agents[own])]
    return Findings(
        verdict=verdict + ".",
        judgements=judgements,
        comparisons=[*_fields(values, chance), _returns(agents, own)],
        main=gain,
        main_name="durotactic index above flat ground",
        terms=["durotactic index", "flat control", "success", "chance level", "interval", "IQM"],
    )


def _fields(
    values: Mapping[tuple[str, str], tuple[Estimate | None, Estimate | None]], chance: float
) -> list[Comparison]:
    """One comparison of index, one of success, over the control fields."""
    found = []
    for measure, title, percent in (
        ("durotactic_index", "Durotactic index on the field and its controls", False),
        ("is_success", "Success on the field and its controls", True),
    ):
        rows = [
            Row(field, value, OWN if field == "gradient" else REFERENCE)
            for (field, name), (value, _) in values.items()
            if name == measure and value is not None
        ]
        if rows:
            why = (
                "Share of the episodes that reached the goal, beside what a blind walk reaches."
                if percent
                else "Episodes of fixed length. Turned fields and an inner optimum must look like the field; flat is 0."
            )
            found.append(Comparison(title, rows, why, percent=percent, chance=chance if percent else 0.0))
    return found
