"""Findings of a search for laws: the law, typeset, how sure it is, and the front it was chosen from."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rl_suite.report.findings import GOOD, NOTE, Estimate, Findings, Judgement, number, part, sentences
from rl_suite.report.mathml import mathml

MOST_LAWS = 40
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


def typeset(content: Mapping[str, Any]) -> str:
    """The chosen law as MathML; the empty string where there is none."""
    formula = part(content, "law", "formula")
    return mathml(str(content.get("target", "y")), formula) if isinstance(formula, str) else ""


def front(content: Mapping[str, Any]) -> list[ShownLaw]:
    """How the law was found: the best law of each complexity."""
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
