"""From a program that is worth finishing to laws: its genes, and what the frame makes of them on each dataset."""

from collections.abc import Sequence

import numpy as np

from envs.symbolic.program import evaluate_programs
from envs.symbolic.tokens import CONSTANT
from rl_suite.symbolic.evolution.frames import ADDITIVE, POWER, SINGLE, Genes, Target, cut_genes, room_for_genes
from rl_suite.symbolic.evolution.genome import Alphabet, Programs, Values
from rl_suite.symbolic.evolution.island import Candidate
from rl_suite.symbolic.forms.assembly import assemble
from rl_suite.symbolic.forms.inputs import Inputs
from rl_suite.symbolic.laws.pieces import Piece, from_program

MAX_FORMS = 4  # forms that several datasets propose for one program, the most frequent first


def genes_of(candidate: Candidate, split: bool, alphabet: Alphabet) -> Genes:
    """Cut a program as its frame does."""
    length = len(candidate.tokens)
    genes = room_for_genes(1, length)
    programs = Programs(candidate.tokens[None], candidate.values[None], np.array([length]))
    n = cut_genes(programs, alphabet.symbols, genes)
    if whole_program(int(genes.kind[0]), candidate.frame, split):
        n = 1
        genes.tokens[0] = candidate.tokens
        genes.lengths[0] = length
        numbers = candidate.values[alphabet.symbols.opcode[candidate.tokens] == CONSTANT]
        genes.constants[0, : len(numbers)] = numbers
    return genes._replace(tokens=genes.tokens[:n], constants=genes.constants[:n], lengths=genes.lengths[:n])


def whole_program(kind: int, frame: int, split: bool) -> bool:
    """Whether a frame takes a program as one gene: a sum as a factor, a product as a term, or everything unsplit."""
    return kind != SINGLE and (not split or (kind == ADDITIVE) == (frame == POWER))


def forms_of(
    candidate: Candidate,
    split: bool,
    alphabet: Alphabet,
    inputs: Inputs,
    datasets: Sequence[Values],
    targets: Sequence[Target],
) -> list[list[Piece]]:
    """Laws that a program amounts to: for each form, the law of every dataset.

    Each dataset (n, columns) is fitted by itself, and may round an exponent or leave out a term otherwise than
    the others. A dataset that did not propose a form begins with the constants of one that did.
    """
    genes = genes_of(candidate, split, alphabet)
    library = alphabet.library
    pieces = [
        inputs.spelled_out(from_program(program[:length], constants.tolist(), library))
        for program, length, constants in zip(genes.tokens, genes.lengths, genes.constants, strict=True)
    ]
    proposed: dict[tuple[object, ...], dict[int, Piece]] = {}
    for s, (columns, target) in enumerate(zip(datasets, targets, strict=True)):
        G = evaluate_programs(genes.tokens, genes.lengths, columns, library, genes.constants)
        if not np.isfinite(G).all():
            return []
        for piece in assemble(target, candidate.frame, list(inputs.factors), inputs.factor_rows(columns), pieces, G):
            form = (piece.names, tuple(exact for _, exact in piece.numbers))
            proposed.setdefault(form, {}).setdefault(s, piece)
    forms = sorted(proposed.values(), key=len, reverse=True)
    kept = forms if len(datasets) == 1 else forms[:MAX_FORMS]
    return [[form.get(s, next(iter(form.values()))) for s in range(len(datasets))] for form in kept]
