"""gplearn and Operon as solvers of the same problems; their expressions are read back as laws."""

import importlib.util
import warnings
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.symbolic.benchmarks import Problem
from envs.symbolic.text import parse
from envs.symbolic.tokens import Library
from rl_suite.symbolic.laws.law import Law
from rl_suite.symbolic.laws.numbers import Exact
from rl_suite.symbolic.laws.pieces import Piece, binary, from_program, number, unary
from rl_suite.symbolic.laws.polish import Polisher

Values = NDArray[np.float64]
Fit = Callable[[Values, Values, Problem, int], tuple[Law, int]]
GPLEARN_FUNCTIONS = ("add", "sub", "mul", "div", "sin", "cos", "log", "sqrt")
GPLEARN_ZERO = 0.001  # gplearn's a / b is 1 and its log(b) is 0 where |b| is not more than this
LARGEST_EXPONENT = 100.0
GENERATIONS, POPULATION = 20, 5000
WITHOUT_CONSTANTS = ("nguyen", "r", "livermore")  # their formulas are usually searched without numbers
OPERON_SYMBOLS = "add,sub,mul,div,sin,cos,exp,log,sqrt,constant,variable"
OPERON_EVALUATIONS, OPERON_SECONDS = 500_000, 120


def available_peers() -> dict[str, Fit]:
    """The peers that are installed (``pip install rl-suite[peers]``)."""
    found: dict[str, Fit] = {}
    for module, fit in (("gplearn", fit_gplearn), ("pyoperon", fit_operon)):
        if importlib.util.find_spec(module) is not None:
            found[module] = fit
    return found


def fit_gplearn(X: Values, y: Values, problem: Problem, seed: int) -> tuple[Law, int]:
    """gplearn with exp, sqrt and five times its usual population, which finds more; (law, programs evaluated)."""
    from gplearn.functions import make_function
    from gplearn.genetic import SymbolicRegressor

    exp = make_function(function=lambda x: np.exp(np.minimum(x, LARGEST_EXPONENT)), name="exp", arity=1, wrap=False)
    model = SymbolicRegressor(
        population_size=POPULATION,
        generations=GENERATIONS,
        function_set=(*GPLEARN_FUNCTIONS, exp),
        const_range=None if problem.group in WITHOUT_CONSTANTS else (-1.0, 1.0),
        stopping_criteria=1e-10,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
    evaluated = POPULATION * len(model.run_details_["generation"])
    return finished(gplearn_law(model._program.program, problem, X), X, y), evaluated


def finished(law: Law, X: Values, y: Values) -> Law:
    """A peer's law with its constants fitted and recognised as ours are: it is its form that is compared."""
    return Polisher(X, y).finish(law).law


def gplearn_law(program: list[Any], problem: Problem, X: Values) -> Law:
    """A gplearn program (functions, column numbers, constants in prefix order) as the law that it is on X (n, d)."""
    stack: list[tuple[Piece, Values]] = []
    for node in reversed(program):
        if isinstance(node, int | np.integer):
            stack.append((Piece((problem.variables[int(node)],)), X[:, int(node)]))
        elif isinstance(node, float | np.floating):
            stack.append((number(float(node)), np.full(len(X), float(node))))
        else:
            arguments = [stack.pop() for _ in range(node.arity)]
            value = node(*(values for _, values in arguments))
            stack.append((_unprotected(node.name, *arguments), value))
    return stack[0][0].law(Library("full", problem.variables, constant=True))


def _unprotected(name: str, *arguments: tuple[Piece, Values]) -> Piece:
    """A function of gplearn, defined for all numbers, as the function of that name and what protects it."""
    pieces = [piece for piece, _ in arguments]
    last = arguments[-1][1]
    if name in ("div", "log") and (np.abs(last) <= GPLEARN_ZERO).all():
        plain = Fraction(1 if name == "div" else 0)
        return number(float(plain), Exact(plain))
    if name in ("log", "sqrt") and (last < 0).any():
        pieces[-1] = unary("abs", pieces[-1])
    return unary(name, *pieces) if len(pieces) == 1 else binary(name, *pieces)


def fit_operon(X: Values, y: Values, problem: Problem, seed: int) -> tuple[Law, int]:
    """Operon with local search of constants; (law, evaluations)."""
    from pyoperon.sklearn import SymbolicRegressor

    model = SymbolicRegressor(
        allowed_symbols=OPERON_SYMBOLS,
        population_size=1000,
        pool_size=1000,
        generations=1000,
        max_length=30,
        max_evaluations=OPERON_EVALUATIONS,
        max_time=OPERON_SECONDS,
        optimizer_iterations=5,
        n_threads=1,
        random_state=seed,
    )
    model.fit(X, y)
    text = model.get_model_string(model.model_, precision=12, names=[f"v{i}" for i in range(X.shape[1])])
    stand_in = Library("full", [f"v{i}" for i in range(X.shape[1])], constant=True)
    expression = parse(text, stand_in)
    piece = from_program(expression.program, expression.constants.tolist(), stand_in)
    renamed = dict(zip(stand_in.variables, problem.variables, strict=True))
    piece = Piece(tuple(renamed.get(name, name) for name in piece.names), piece.numbers)
    law = piece.law(Library("full", problem.variables, constant=True))
    return finished(law, X, y), OPERON_EVALUATIONS
