"""The vocabulary of expressions: operations, literals, the fitted constant and variables, with fixed ids.

An expression is a *program*: the ids of its tokens in prefix order, ``int16``. A batch of programs is an
array (P, L) padded with ``PAD`` and an array of lengths (P,). An id is the token's position in its
``Library``; the order is that of the constructor's arguments, so ids never depend on hashing.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Program = NDArray[np.int16]  # (L,) token ids in prefix order
Constants = NDArray[np.float64]  # (k,) one value per fitted-constant token, in prefix order
UnitsRule = Literal["equal", "mul", "div", "keep", "square", "cube", "sqrt", "inverse", "none", "variable", "constant"]
Tree = tuple[int, ...] | tuple[object, ...]

PAD = -1
MAX_LENGTH = 1024  # tokens; longer programs are refused everywhere
MAX_STACK = 64  # operands that evaluation holds at once; bounds the depth of right-nested expressions


@dataclass(frozen=True, slots=True)
class Operation:
    """What a function token computes; ``opcode`` selects its branch in the numba kernels."""

    opcode: int
    arity: int
    symbol: str  # how it is printed: infix for "+ - * / ^", prefix "-", postfix "^2", "1/", else a call
    units: UnitsRule
    complexity: int


VARIABLE, LITERAL, CONSTANT = 0, 1, 2  # opcodes of the operands; operations follow

# Complexity weights: arithmetic costs 1, what a physicist would think twice about costs more.
OPERATIONS: dict[str, Operation] = {
    "add": Operation(3, 2, "+", "equal", 1),
    "sub": Operation(4, 2, "-", "equal", 1),
    "mul": Operation(5, 2, "*", "mul", 1),
    "div": Operation(6, 2, "/", "div", 1),
    "pow": Operation(7, 2, "^", "none", 2),
    "min": Operation(8, 2, "min", "equal", 2),
    "max": Operation(9, 2, "max", "equal", 2),
    "atan2": Operation(10, 2, "atan2", "none", 3),  # of (y, x): the angle of the point, in radians
    "neg": Operation(11, 1, "-", "keep", 1),
    "inv": Operation(12, 1, "1/", "inverse", 1),
    "sq": Operation(13, 1, "^2", "square", 1),
    "cube": Operation(14, 1, "^3", "cube", 1),
    "sqrt": Operation(15, 1, "sqrt", "sqrt", 1),
    "abs": Operation(16, 1, "abs", "keep", 1),
    "sign": Operation(17, 1, "sign", "none", 2),
    "step": Operation(18, 1, "step", "none", 2),  # 1 from 0 on, else 0
    "exp": Operation(19, 1, "exp", "none", 2),
    "log": Operation(20, 1, "log", "none", 2),
    "sin": Operation(21, 1, "sin", "none", 2),
    "cos": Operation(22, 1, "cos", "none", 2),
    "tan": Operation(23, 1, "tan", "none", 2),
    "asin": Operation(24, 1, "asin", "none", 3),
    "acos": Operation(25, 1, "acos", "none", 3),
    "atan": Operation(26, 1, "atan", "none", 3),
    "sinh": Operation(27, 1, "sinh", "none", 3),
    "cosh": Operation(28, 1, "cosh", "none", 3),
    "tanh": Operation(29, 1, "tanh", "none", 3),
}

# The opcodes by name, for the kernels.
(
    ADD, SUB, MUL, DIV, POW, MIN, MAX, ATAN2, NEG, INV, SQ, CUBE, SQRT, ABS, SIGN, STEP,
    EXP, LOG, SIN, COS, TAN, ASIN, ACOS, ATAN, SINH, COSH, TANH,
) = (operation.opcode for operation in OPERATIONS.values())  # fmt: skip
LAST_BINARY = max(operation.opcode for operation in OPERATIONS.values() if operation.arity == 2)  # unary ones follow
LAST_OPCODE = max(operation.opcode for operation in OPERATIONS.values())

FUNCTION_SETS: dict[str, tuple[str, ...]] = {
    "arithmetic": ("add", "sub", "mul", "div"),
    "koza": ("add", "sub", "mul", "div", "sin", "cos", "exp", "log"),
    "nguyen": ("add", "sub", "mul", "div", "sin", "cos", "exp", "log"),
    "keijzer": ("add", "mul", "inv", "neg", "sqrt"),
    "physics": ("add", "sub", "mul", "div", "sq", "sqrt", "sin", "cos", "exp", "log"),
    "full": tuple(OPERATIONS),
}

NAMED_NUMBERS = {"pi": math.pi, "e": math.e}


@dataclass(frozen=True, slots=True)
class Token:
    """One symbol of a library; ``index`` is the column of a variable, ``value`` the number of a literal."""

    name: str
    symbol: str
    arity: int
    opcode: int
    units: UnitsRule
    complexity: int
    value: float = math.nan
    index: int = -1


class TokenTable(NamedTuple):
    """A library for the kernels: entries per token (n,)."""

    opcode: NDArray[np.int64]
    column: NDArray[np.int64]  # of a variable's values, else -1
    value: NDArray[np.float64]  # number of a literal, else NaN


class Library:
    """An ordered set of tokens: functions, then literals, then the fitted constant, then variables.

    Args:
        functions: name of a set in ``FUNCTION_SETS``, or names out of ``OPERATIONS`` in the wished order.
        variables: how many (named x0, x1, ...) or their names.
        literals: numbers as text, "pi" or "e"; they are tokens of their own.
        constant: whether the token ``c`` exists, whose values are fitted to the data.
        complexities: other complexity weights by token name.

    Raises:
        ValueError: unknown or repeated names, no variables, an unordered collection.

    >>> library = Library("arithmetic", variables=["m", "v"], literals=["2"], constant=True)
    >>> [token.name for token in library.tokens]
    ['add', 'sub', 'mul', 'div', '2', 'c', 'm', 'v']
    >>> library.encode(["mul", "m", "v"]).tolist()
    [2, 6, 7]
    """

    def __init__(
        self,
        functions: str | Sequence[str] = "koza",
        variables: int | Sequence[str] = 1,
        literals: Sequence[str] = (),
        constant: bool = False,
        complexities: Mapping[str, int] | None = None,
    ):
        self.functions = _function_names(functions)
        self.variables = _variable_names(variables)
        weights = dict(complexities or {})
        tokens = []
        for name in self.functions:
            op = OPERATIONS[name]
            tokens.append(Token(name, op.symbol, op.arity, op.opcode, op.units, weights.pop(name, op.complexity)))
        for text in literals:
            tokens.append(Token(text, text, 0, LITERAL, "constant", weights.pop(text, 1), _literal_value(text)))
        if constant:
            name = "c" if "c" not in self.variables else "c_"  # c may be the speed of light
            tokens.append(Token(name, name, 0, CONSTANT, "constant", weights.pop(name, 1)))
        for i, name in enumerate(self.variables):
            tokens.append(Token(name, name, 0, VARIABLE, "variable", weights.pop(name, 1), index=i))
        if weights:
            raise ValueError(f"complexities name tokens that the library lacks: {', '.join(weights)}")
        self.tokens = tuple(tokens)
        self._ids = {token.name: i for i, token in enumerate(tokens)}
        if len(self._ids) != len(tokens):
            names = [token.name for token in tokens]
            raise ValueError(f"token names repeat: {sorted({n for n in names if names.count(n) > 1})}")
        self.constant_id = len(self.functions) + len(literals) if constant else -1
        self.arity: NDArray[np.int64] = np.array([t.arity for t in tokens])  # (n,)
        self.opcode: NDArray[np.int64] = np.array([t.opcode for t in tokens])  # (n,)
        self.index: NDArray[np.int64] = np.array([t.index for t in tokens])  # (n,) column of a variable, else -1
        self.value: NDArray[np.float64] = np.array([t.value for t in tokens])  # (n,) number of a literal, else NaN
        self.complexity: NDArray[np.int64] = np.array([t.complexity for t in tokens])  # (n,)
        self.table = TokenTable(self.opcode, self.index, self.value)

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, name: object) -> bool:
        return name in self._ids

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Library) and repr(self.tokens) == repr(other.tokens)  # repr: NaN equals NaN

    def __hash__(self) -> int:
        return hash(repr(self.tokens))

    def __repr__(self) -> str:
        return f"Library({' '.join(token.name for token in self.tokens)})"

    @property
    def n_variables(self) -> int:
        """Number of input columns."""
        return len(self.variables)

    def id(self, name: str) -> int:
        """The id of a token name; KeyError with the known names if there is none."""
        if name not in self._ids:
            raise KeyError(f"no token {name!r} in this library; it has: {', '.join(self._ids)}")
        return self._ids[name]

    def encode(self, names: Iterable[str]) -> Program:
        """Token names in prefix order -> ids (L,)."""
        return np.array([self.id(name) for name in names], dtype=np.int16)

    def decode(self, program: Iterable[int]) -> list[str]:
        """Ids in prefix order -> token names; padding is dropped."""
        return [self.tokens[int(i)].name for i in program if i != PAD]


def _function_names(functions: str | Sequence[str]) -> tuple[str, ...]:
    if isinstance(functions, str):
        if functions not in FUNCTION_SETS:
            raise ValueError(f"unknown function set {functions!r}; known: {', '.join(FUNCTION_SETS)}")
        return FUNCTION_SETS[functions]
    if not isinstance(functions, Sequence):
        raise ValueError("functions must be an ordered sequence: a set has no fixed order, and ids would change")
    for name in functions:
        if name not in OPERATIONS:
            raise ValueError(f"unknown function {name!r}; known: {', '.join(OPERATIONS)}")
    return tuple(functions)


def _variable_names(variables: int | Sequence[str]) -> tuple[str, ...]:
    if isinstance(variables, int):
        variables = [f"x{i}" for i in range(variables)]
    if not isinstance(variables, Sequence) or isinstance(variables, str) or len(variables) == 0:
        raise ValueError(f"variables must be a positive number or an ordered list of names, not {variables!r}")
    for name in variables:
        if not (isinstance(name, str) and name.isidentifier() and name.isascii()) or name.startswith("__"):
            raise ValueError(f"variable name {name!r} must be letters, digits and _, not beginning with a digit or __")
        if name in OPERATIONS or name in FUNCTION_ALIASES or name == "pi":
            raise ValueError(f"variable name {name!r} is the name of a function or number; rename the column")
    return tuple(variables)


def _literal_value(text: str) -> float:
    if text in NAMED_NUMBERS:
        return NAMED_NUMBERS[text]
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"literal {text!r} is neither a number nor one of {', '.join(NAMED_NUMBERS)}") from None
    if not math.isfinite(value) or value < 0 or not text[0].isdigit():
        raise ValueError(f"literal {text!r} must be a finite number of plain digits, not negative")
    return value


FUNCTION_ALIASES = {
    "ln": "log",
    "arcsin": "asin",
    "arccos": "acos",
    "arctan": "atan",
    "square": "sq",
    "Abs": "abs",
    "Min": "min",
    "Max": "max",
}


def pad_programs(
    programs: Sequence[Sequence[int] | Program], length: int | None = None
) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """Stack programs of different lengths into (P, L) and their lengths (P,)."""
    lengths = np.array([len(program) for program in programs], dtype=np.int64)
    width = int(lengths.max(initial=1)) if length is None else length
    if lengths.max(initial=0) > min(width, MAX_LENGTH):
        raise ValueError(f"a program of {lengths.max()} tokens does not fit into {min(width, MAX_LENGTH)}")
    padded = np.full((len(programs), width), PAD, dtype=np.int16)
    for row, program in enumerate(programs):
        padded[row, : len(program)] = program
    return padded, lengths


def subtree_sizes(program: Program, library: Library) -> NDArray[np.int64]:
    """Tokens in the subtree that begins at each position, (L,); ValueError if the program is not one whole tree."""
    sizes = np.ones(len(program), dtype=np.int64)
    if len(program) == 0 or len(program) > MAX_LENGTH:
        raise ValueError(f"a program has 1 to {MAX_LENGTH} tokens, not {len(program)}")
    if program.min() < 0 or program.max() >= len(library):
        raise ValueError(f"token ids must be in 0 .. {len(library) - 1}; cut the padding off first")
    for i in range(len(program) - 1, -1, -1):
        for _ in range(library.arity[program[i]]):
            child = i + int(sizes[i])
            if child >= len(program):
                raise ValueError("the program ends before all arguments are there")
            sizes[i] += sizes[child]
    if sizes[0] != len(program):
        raise ValueError(f"the expression is whole after {sizes[0]} of {len(program)} tokens")
    return sizes


def to_tree(program: Program, library: Library) -> Tree:
    """Prefix ids -> nested tuples ``(id, child, ...)``; a leaf is ``(id,)``."""
    subtree_sizes(program, library)
    stack: list[Tree] = []
    for i in program[::-1]:
        arity = int(library.arity[i])
        children = [stack.pop() for _ in range(arity)]
        stack.append((int(i), *children))
    return stack[0]


def depth(program: Program, library: Library) -> int:
    """Levels of the tree; a leaf alone has depth 1."""
    stack: list[int] = []
    for i in program[::-1]:
        children = [stack.pop() for _ in range(library.arity[i])]
        stack.append(1 + max(children, default=0))
    return stack[0]


def complexity(program: Program, library: Library) -> int:
    """Sum of the complexity weights of the tokens; padding counts nothing."""
    return int(library.complexity[program[program != PAD]].sum())


def are_whole(tokens: NDArray[np.int16], lengths: NDArray[np.int64], arity: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each row of ``tokens`` (P, L) is one whole program of its length in prefix order, and PAD behind it.

    >>> library = Library("koza", 1)
    >>> rows = np.array([[*library.encode(["add", "x0", "x0"])], [*library.encode(["x0", "x0", "add"])]])
    >>> are_whole(rows, np.array([3, 3]), library.arity).tolist()
    [True, False]
    """
    n_rows, width = tokens.shape
    if not n_rows or not width:
        return np.zeros(n_rows, dtype=np.bool_)
    inside = np.arange(width) < lengths[:, None]
    known = np.where(inside, (tokens >= 0) & (tokens < len(arity)), tokens == PAD).all(axis=1)
    missing = 1 + np.cumsum(arity[np.clip(tokens, 0, len(arity) - 1)] - 1, axis=1)  # arguments still to come
    last = np.clip(lengths - 1, 0, width - 1)
    ends = missing[np.arange(n_rows), last] == 0
    before = np.where(np.arange(width) < last[:, None], missing, 1).min(axis=1) > 0
    whole: NDArray[np.bool_] = known & ends & before & (lengths >= 1) & (lengths <= width)
    return whole
