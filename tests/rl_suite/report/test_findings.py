"""What the page says is what the result file holds, and a file of anything else says nothing."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rl_suite.report.agents import findings_of_agents
from rl_suite.report.episodes import findings_of_episodes, findings_of_sequences
from rl_suite.report.findings import BAD, GOOD, OPEN, OWN, Comparison, Estimate, Findings, Row, estimate
from rl_suite.report.forest import forest_of, round_values
from rl_suite.report.laws import findings_of_laws, front, typeset
from rl_suite.report.mathml import expression
from rl_suite.report.page import READERS
from rl_suite.report.searches import findings_of_priors, findings_of_settings
from rl_suite.report.tables import tables_of

KEYS = (
    "agents", "iqm", "mean", "estimate", "low", "high", "law", "formula", "nmse", "front", "rows", "field", "a",
    "average_accuracy", "controls of a", "programs", "outcomes", "solved_at", "row", "results",
    "chance_level", "measure", "value", "in_context_curve",
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def interval(value: float, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    return {"estimate": value, "low": low, "high": high}


def agents(gain: dict[str, Any], n: int = 40) -> dict[str, Any]:
    return {
        "agents": {
            "random": {"iqm": interval(1.0, 0.5, 1.5)},
            "in-context": {
                "iqm": interval(8.0, 7.0, 9.0),
                "share_of_oracle": 0.75,
                "returns": [[1.0] * n],
                "in_context_curve": [interval(2.0), interval(6.0)],
            },
            "oracle": {"iqm": interval(10.0)},
        },
        "against_random": {"in-context": {"paired_difference_of_means": gain}},
    }


def marks(findings: Findings | None) -> list[str]:
    assert findings is not None
    return [judgement.mark for judgement in findings.judgements]


def test_agents_say_their_return_what_random_gets_and_the_share_of_the_oracle() -> None:
    findings = findings_of_agents(agents(interval(7.0, 6.0, 8.0)))
    assert findings is not None
    assert findings.verdict == (
        "On held-out episodes the in-context agent returns 8 [7, 9], where the random agent returns 1 [0.5, 1.5]: "
        "75 % of the way from random to the oracle. Within a trial it goes from 2 in the first episode to 6 in the "
        "last."
    )
    assert marks(findings) == [GOOD, GOOD]
    assert [row.role == OWN for row in findings.comparisons[0].rows] == [False, True, False]


@pytest.mark.parametrize(
    ("gain", "first"), [((-1.0, -2.0, -0.5), BAD), ((0.1, -0.5, 0.7), BAD), ((1.0, 0.5, 1.5), GOOD)]
)
def test_a_difference_counts_only_if_its_interval_lies_above_zero(gain: tuple[float, ...], first: str) -> None:
    assert marks(findings_of_agents(agents(interval(*gain))))[0] == first


def test_few_episodes_are_said() -> None:
    assert marks(findings_of_agents(agents(interval(1.0, 0.5, 1.5), n=8))) == [GOOD, OPEN]


def durotaxis(low: float, flags: list[str]) -> dict[str, Any]:
    rows = [
        {"field": field, "measure": measure, "value": interval(*value), "minus_flat": interval(*gain)}
        for field, measure, value, gain in (
            ("gradient", "durotactic_index", (0.6, 0.5, 0.7), (0.6, low, 0.8)),
            ("flat", "durotactic_index", (0.0, -0.1, 0.1), (0.0, 0.0, 0.0)),
            ("gradient", "is_success", (0.9, 0.8, 1.0), (0.9, 0.8, 1.0)),
        )
    ]
    content = agents(interval(1.0, 0.5, 1.5))
    return {**content, "controls of in-context": {"chance_level": 0.2, "rows": rows, "flags": flags}}


def test_durotaxis_is_judged_by_its_controls() -> None:
    clean = findings_of_agents(durotaxis(0.4, []))
    assert clean is not None
    assert clean.verdict.startswith("The colony steers up the gradient: its durotactic index is 0.6 [0.4, 0.8] above")
    assert "reaches the goal in 90 % [80, 100] of the episodes (a blind walk: 20 %)" in clean.verdict
    none = findings_of_agents(durotaxis(-0.1, ["no durotaxis shown: the index gains nothing"]))
    assert none is not None
    assert none.verdict.startswith("Durotaxis is not shown")
    assert marks(none)[0] == BAD


def episodes(shuffled: tuple[float, float, float]) -> dict[str, Any]:
    return {
        "5-way 1-shot": {
            "trained": {"mean": interval(0.9, 0.88, 0.92), "n": 600},
            "nearest centroid on pixels": {"mean": interval(0.6, 0.58, 0.62)},
            "untrained encoder": {"mean": interval(0.95, 0.93, 0.97)},
            "trained, support labels shuffled": {"mean": interval(*shuffled)},
        }
    }


def test_few_shot_controls_must_fall_to_chance_and_be_beaten() -> None:
    assert marks(findings_of_episodes(episodes((0.2, 0.18, 0.22)))) == [GOOD, BAD, GOOD, GOOD]
    assert marks(findings_of_episodes(episodes((0.4, 0.38, 0.42)))) == [GOOD, BAD, BAD, GOOD]


def test_errors_of_regression_are_better_when_lower() -> None:
    rows = {
        "after 1 step": {"mean": interval(0.5, 0.4, 0.6), "n": 600},
        "unadapted": {"mean": interval(3.0, 2.5, 3.5)},
        "adapted to shuffled targets": {"mean": interval(0.55, 0.45, 0.65)},
    }
    assert marks(findings_of_episodes({"results": rows})) == [GOOD, OPEN, GOOD]


def test_accuracy_of_a_learner_that_adapts_is_no_error_and_is_compared_over_the_same_tasks() -> None:
    rows = {
        "adapted, 1 step": {"mean": interval(0.9, 0.88, 0.92), "n": 600},
        "nearest centroid on its features": {"mean": interval(0.91, 0.89, 0.93)},
        "unadapted": {"mean": interval(0.2, 0.2, 0.2)},
        "adapted to shuffled labels": {"mean": interval(0.21, 0.19, 0.23)},
    }
    paired = {"nearest centroid on its features": {"difference": interval(-0.01, -0.015, -0.005)}}
    content = {"title": "anil: accuracy, 5-way 1-shot", "measure": "accuracy", "results": rows}
    findings = findings_of_episodes({**content, "first_row_minus": paired})
    assert findings is not None
    assert findings.verdict.startswith("5-way 1-shot, adapted, 1 step: accuracy on classes never seen is 90 % [88, 92]")
    assert marks(findings) == [BAD, GOOD, GOOD, GOOD]
    assert findings.comparisons[0].chance == pytest.approx(0.2)
    assert marks(findings_of_episodes({k: v for k, v in content.items() if k != "measure"})) == [OPEN, GOOD, GOOD, GOOD]


def test_success_on_another_tasks_episodes_is_a_control() -> None:
    rows = {
        "5 steps": {"mean": interval(0.78, 0.7, 0.86), "n": 9},
        "0 steps": {"mean": interval(0.14, 0.1, 0.18)},
        "5 steps on another task's episodes": {"mean": interval(0.15, 0.1, 0.2)},
    }
    paired = {"0 steps": {"difference": interval(0.64, 0.6, 0.68)}}
    findings = findings_of_episodes({"measure": "success", "results": rows, "first_row_minus": paired})
    assert findings is not None
    assert findings.verdict.startswith("5 steps: success on tasks never seen is 78 % [70, 86].")
    assert marks(findings) == [GOOD, GOOD, OPEN]


def test_the_highest_of_several_strategies_is_not_called_the_best() -> None:
    rows = {
        name: {"average_accuracy": interval(value)} for name, value in (("naive", 0.3), ("ewc", 0.5), ("joint", 0.9))
    }
    findings = findings_of_sequences({"split_task": rows})
    assert findings is not None
    assert findings.verdict == "Split task: highest is ewc with 50 % (naive training: 30 %)."
    assert marks(findings) == [OPEN]


def test_a_law_is_typeset_and_its_doubts_are_listed() -> None:
    law = {"formula": "2*x**(1/2)/y", "nmse": 0.0004, "n_points": 8, "bits": -3.0, "complexity": 5}
    content = {
        "target": "t",
        "law": law,
        "front": [law],
        "certainty": ["odds of more than 10 to 1 for this one", "3 rows"],
    }
    findings = findings_of_laws(content)
    assert findings is not None
    assert findings.verdict == "t follows the law below: it leaves 0.02 of the standard deviation on 8 rows."
    assert marks(findings) == [GOOD, "note"]
    assert "<msqrt><mi>x</mi></msqrt>" in typeset(content)
    assert [row.chosen for row in front(content)] == [True]


TIMES, MINUS = "<mo>&#8201;</mo>", "<mo>&#8722;</mo>"
A, B, C = "<mi>a</mi>", "<mi>b</mi>", "<mi>c</mi>"


def row(inside: str) -> str:
    return f"<mrow>{inside}</mrow>"


def enclosed(inside: str) -> str:
    return row(f"<mo>(</mo>{inside}<mo>)</mo>")


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("a", A),
        ("-2*(a + b)", row(row(f"{MINUS}<mn>2</mn>") + TIMES + enclosed(f"{A}<mo>+</mo>{B}"))),
        ("a*(-b)", row(A + TIMES + enclosed(MINUS + B))),
        ("a - (b - c)", row(A + MINUS + enclosed(B + MINUS + C))),
        ("(a*b)**2", f"<msup>{row(enclosed(A + TIMES + B))}{row('<mn>2</mn>')}</msup>"),
        ("a**(1/2)", f"<msqrt>{A}</msqrt>"),
        ("a/b", f"<mfrac>{row(A)}{row(B)}</mfrac>"),
        ("k_B*omega", row(f"<msub><mi>k</mi><mi>B</mi></msub>{TIMES}<mi>&#969;</mi>")),
        ("hbar + x_", row("<mi>&#8463;</mi><mo>+</mo><mi>x_</mi>")),
        ("sin(pi*a)", row("<mi>sin</mi><mo>&#8289;</mo><mo>(</mo>" + row(f"<mi>&#960;</mi>{TIMES}{A}") + "<mo>)</mo>")),
    ],
)
def test_formulas_keep_their_meaning(formula: str, expected: str) -> None:
    assert expression(formula) == expected


NO_ARITHMETIC = ["", "a b", "x if y else z", "__import__('os').system('x')", "[1]", "(" * 99, "'<b>'", "lambda: 1"]


@pytest.mark.parametrize("formula", NO_ARITHMETIC)
def test_what_is_no_arithmetic_is_not_typeset(formula: str) -> None:
    assert expression(formula) is None


def test_places_on_the_axis() -> None:
    rows = [Row("a", Estimate(0.0, -1.0, 1.0), OWN), Row("b", Estimate(0.5))]
    forest = forest_of(Comparison("c", rows, chance=0.0))
    assert forest is not None
    first, second = forest.bars
    assert (first.low, first.at, first.high) == (pytest.approx(3.7), pytest.approx(50.0), pytest.approx(96.3))
    assert second.low is None
    assert second.at == pytest.approx(73.15)
    assert forest.chance == pytest.approx(50.0)
    assert forest_of(Comparison("empty", [])) is None


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_lie_on_the_axis(low: float, width: float) -> None:
    values = round_values(low, low + width)
    assert len(values) <= 8
    assert all(low - 1e-9 * width <= value <= low + width * (1 + 1e-9) for value in values)


@pytest.mark.parametrize("value", ["1", True, None, float("nan"), [1], {"estimate": "1"}, {"low": 1}, 10**400])
def test_what_is_no_number_is_no_estimate(value: object) -> None:
    assert estimate(value) is None


@settings(max_examples=200)
@given(
    st.dictionaries(
        st.text(max_size=8) | st.sampled_from(["agents", "law", "front", "controls of a"]), JSON, max_size=4
    )
)
def test_no_file_whatever_it_holds_breaks_the_page(content: dict[str, Any]) -> None:
    for reader in READERS:
        findings = reader(content)
        if findings is not None:
            for comparison in findings.comparisons:
                forest_of(comparison)
    front(content)
    typeset(content)
    list(tables_of(content))


def searched(difference: tuple[float, float, float], n: int = 5) -> dict[str, Any]:
    rows = {"own settings": {"mean": interval(1.0, 0.5, 1.5)}, "settings found": {"mean": interval(3.0, 2.5, 3.5)}}
    for row in rows.values():
        row["n"] = n  # type: ignore[assignment]
    gap = {"settings found": {"difference": interval(*difference)}}
    return {"measure": "return", "results": rows, "first_row_minus": gap}


def test_a_search_of_settings_is_judged_by_its_gain_and_not_as_an_error() -> None:
    found = findings_of_settings(searched((-2.0, -2.5, -1.5)))
    assert found is not None
    assert found.verdict.startswith("The settings found are better than the experiment's own")
    assert found.judgements[0].text == "Difference: 2 [1.5, 2.5]."
    assert marks(found) == [GOOD, GOOD]
    assert marks(findings_of_settings(searched((-2.0, -5.0, 1.0), n=2))) == [OPEN, OPEN]
    assert marks(findings_of_settings(searched((2.0, 1.0, 3.0)))) == [BAD, GOOD]
    first = next(found for reader in READERS if (found := reader(searched((-2.0, -2.5, -1.5)))) is not None)
    assert "squared error" not in first.verdict


def test_a_prior_is_judged_by_the_laws_that_it_finds_beside_the_wrong_table() -> None:
    def outcomes(row: str, solved: int) -> list[dict[str, Any]]:
        return [{"row": row, "law": str(i), "laws": "fresh", "solved_at": 3 if i < solved else 0} for i in range(20)]

    own, other = "0 adaptation steps", "another law's table"
    found = findings_of_priors({"programs": 10, "outcomes": outcomes(own, 15) + outcomes(other, 1)})
    assert found is not None
    assert found.verdict.startswith("Of 20 unseen laws, 75 % [")
    assert "with another law's table 5 % [" in found.verdict
    assert marks(found) == [GOOD]
    assert marks(findings_of_priors({"programs": 10, "outcomes": outcomes(own, 1) + outcomes(other, 1)})) == [OPEN]
    late = findings_of_priors({"programs": 2, "outcomes": outcomes(own, 15)})
    assert late is not None
    assert late.main == Estimate(0.0, 0.0, 0.0)  # found, but too late
