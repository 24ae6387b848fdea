"""Laws and archives as plain values, for JSON and for checkpoints without pickle."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from envs.symbolic.tokens import Library, subtree_sizes
from rl_suite.symbolic.laws.archive import Archive
from rl_suite.symbolic.laws.constraints import Allowed
from rl_suite.symbolic.laws.law import Law
from rl_suite.symbolic.laws.numbers import Exact
from rl_suite.symbolic.laws.polish import Finished


def law_record(law: Law) -> dict[str, Any]:
    """Token names, constants, and the numbers they were recognised as."""
    exact = [
        None if e is None else [e.fraction.numerator, e.fraction.denominator, str(e.pi_power), e.root]
        for e in law.exact
    ]
    return {"tokens": law.library.decode(law.program), "constants": law.constants.tolist(), "exact": exact}


def read_law(record: Mapping[str, Any], library: Library) -> Law:
    """The law of :func:`law_record`; KeyError for a token that ``library`` lacks, ValueError for no whole law."""
    exact = tuple(
        None if e is None else Exact(Fraction(int(e[0]), int(e[1])), Fraction(e[2]), int(e[3])) for e in record["exact"]
    )
    constants = np.array(record["constants"], dtype=np.float64)
    program = library.encode(record["tokens"])
    subtree_sizes(program, library)  # one whole tree, or a ValueError
    if constants.shape != (int((program == library.constant_id).sum()),):
        raise ValueError("a law needs a number for each of its constants")
    return Law(library, program, constants, exact)


def finished_record(finished: Finished) -> dict[str, Any]:
    """A law with its error and price, and how it reads."""
    others = [law.constants.tolist() for law in finished.laws[1:]]
    return {
        **law_record(finished.law),
        **({"constants_of_other_datasets": others} if others else {}),
        "nmse": finished.nmse,
        "bits": finished.bits,
        "n_points": finished.n_points,
        "every_row": finished.exact,
        "complexity": finished.complexity,
        "formula": finished.text,
        "latex": finished.latex,
    }


def read_finished(record: Mapping[str, Any], library: Library) -> Finished:
    """The law of :func:`finished_record`."""
    law = read_law(record, library)
    others = [replace(law, constants=np.array(c)) for c in record.get("constants_of_other_datasets", [])]
    error, bits, exact = float(record["nmse"]), float(record["bits"]), bool(record["every_row"])
    return Finished((law, *others), error, bits, int(record["n_points"]), exact)


def archive_record(archive: Archive) -> dict[str, Any]:
    """Everything an archive holds."""
    kept = list(archive)
    best = -1 if archive.best is None else next((i for i, f in enumerate(kept) if f is archive.best), len(kept))
    if best == len(kept) and archive.best is not None:  # the cheapest law need not have the least error of its size
        kept.append(archive.best)
    return {"laws": [finished_record(f) for f in kept], "best": best, "found_at": archive.found_at}


def read_archive(record: Mapping[str, Any], library: Library, allowed: Allowed | None = None) -> Archive:
    """The archive of :func:`archive_record`."""
    try:
        laws: Sequence[Finished] = [read_finished(r, library) for r in record["laws"]]
        return Archive.restored(laws, int(record["best"]), int(record["found_at"]), allowed)
    except (OverflowError, IndexError, ZeroDivisionError) as error:
        raise ValueError(f"a law holds numbers that are none: {error}") from None
