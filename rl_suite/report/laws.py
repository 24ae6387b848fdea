"""Findings of a search for laws: the law, typeset, how sure it is, and the front it was chosen from."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rl_suite.report.findings import GOOD, NOTE, Estimate, Findings, Judgement, number, part, sentences
from rl_suite.report.mathml import mathml

MOST_LAWS, MOST_STATES = 40, 50
FOLLOWS = ("no more than its noise", "to the end")
SOUND = ("exact", "odds of more than")  # beginnings and parts of sentences that speak for a law


@dataclass(frozen=True)
class ShownLaw:
    """One law of the front, simplest first."""

    formula: str  # MathML
    complexity: int
    nrmse: float
    bits: float
    chosen: bool


def findings_of_laws(content: Mapping[str, Any]) -> Findings | None:
    """The findings of ``laws.json``; None if it holds no law."""
    if isinstance(content.get("equations"), Sequence):
        return _findings_of_system(content)
    law, target = content.get("law"), str(content.get("target", "y"))
    formula, nmse = part(law, "formula"), number(part(law, "nmse"))
    if not isinstance(formula, str) or nmse is None:
        return None
    error = Estimate(math.sqrt(max(nmse, 0.0)))
    lines = sentences(content.get("certainty"))
    judgements = [
        Judgement(GOOD if any(word in line for word in SOUND) else NOTE, f"{line[:1].upper()}{line[1:]}.")
        for line in lines
    ]
    rows = number(part(law, "n_points"))
    where = f" on {rows:.0f} rows" if rows is not None else ""
    verdict = f"{target} follows the law below: it leaves {error.value:.3g} of the standard deviation{where}."
    return Findings(verdict, judgements, (), error, "NRMSE", ["NRMSE", "bits", "complexity"])


def _findings_of_system(content: Mapping[str, Any]) -> Findings | None:
    """The findings of laws of motion; None if one of them is missing."""
    found = equations(content)
    errors = [number(part(equation, "law", "nmse")) for equation in found]
    if not found or any(error is None for error in errors):
        return None
    lines = sentences(content.get("certainty"))
    judgements = [Judgement(GOOD if any(w in line for w in FOLLOWS) else NOTE, f"{line}.") for line in lines]
    worst = Estimate(math.sqrt(max(max(error or 0.0 for error in errors), 0.0)))
    verdict = f"The motion of {content.get('target', 'the states')} follows the laws below."
    if not all(equation.get("reaches_noise") is True for equation in found):
        verdict = f"The laws below are approximations of the motion of {content.get('target', 'the states')}."
    return Findings(verdict, judgements, (), worst, "NRMSE of the weak form", ["NRMSE", "bits", "complexity"])


def equations(content: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The parts of a result that hold a law each: one, or one for each state of a system."""
    given = content.get("equations")
    parts = given if isinstance(given, Sequence) and not isinstance(given, str) else [content]
    return [own for own in parts[:MOST_STATES] if isinstance(own, Mapping)]


def typeset(content: Mapping[str, Any]) -> str:
    """The chosen law as MathML; the empty string where there is none. A system has one below the other."""
    lines = []
    for equation in equations(content):
        formula = part(equation, "law", "formula")
        if isinstance(formula, str):
            lines.append(mathml(str(equation.get("target", "y")), formula))
    return lines[0] if len(lines) == 1 else "".join(f"<div>{line}</div>" for line in lines)


def front(content: Mapping[str, Any]) -> list[ShownLaw]:
    """How the law was found: the best law of each complexity; of a system, one state after the other."""
    return [law for equation in equations(content) for law in _front(equation)]


def _front(content: Mapping[str, Any]) -> list[ShownLaw]:
    laws = content.get("front")
    target, chosen = str(content.get("target", "y")), part(content, "law", "formula")
    found = []
    for law in laws[:MOST_LAWS] if isinstance(laws, Sequence) and not isinstance(laws, str) else ():
        formula = part(law, "formula")
        nmse, bits, complexity = (number(part(law, key)) for key in ("nmse", "bits", "complexity"))
        if isinstance(formula, str) and nmse is not None and bits is not None and complexity is not None:
            error = math.sqrt(max(nmse, 0.0))
            found.append(ShownLaw(mathml(target, formula), int(complexity), error, bits, formula == chosen))
    return found
