"""Infix text <-> programs, by our own tokenizer and operator-precedence parser.

Nothing is ever evaluated as Python. Text, exponents, nesting and the resulting program are capped, so
that any string is answered in milliseconds: by a program or by a ``ValueError`` that says where it is wrong.
"""

import math
import re
import sys
from dataclasses import dataclass, field

import numpy as np

from envs.symbolic.tokens import (
    CONSTANT,
    FUNCTION_ALIASES,
    LITERAL,
    MAX_LENGTH,
    NAMED_NUMBERS,
    OPERATIONS,
    Constants,
    Library,
    Program,
    subtree_sizes,
)

MAX_TEXT = 10_000  # characters
MOST_SHOWN = 100  # characters of a name in a message
MAX_NESTING = 100  # open parentheses and pending operators
MAX_EXPONENT = 64  # absolute value of a numeric exponent

_LEXEME = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z_]\w*)|(?P<op>\*\*|[-+*/^(),]))"
)
_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "neg": 3, "^": 4}
_BINARY = {"+": "add", "-": "sub", "*": "mul", "/": "div", "^": "pow"}


@dataclass(frozen=True, slots=True)
class Expression:
    """A program with the values of its fitted constants."""

    program: Program  # (L,)
    constants: Constants  # (k,)


def parse(text: str, library: Library) -> Expression:
    """Read infix text such as ``"0.5*m*v^2"`` into a program of ``library``.

    Numbers become literals where the library has them, else fitted constants with that start value.
    What the library lacks is expressed by what it has (``x^3`` by products, ``-x`` by ``c*x``, ...).

    Raises:
        ValueError: text that is too long, malformed, names unknown things, or cannot be said in ``library``.

    >>> lib = Library("koza", ["m", "v"], constant=True)
    >>> expression = parse("0.5*m*v**2 - sin(m)", lib)
    >>> " ".join(lib.decode(expression.program)), expression.constants.tolist()
    ('sub mul mul c m mul v v sin m', [0.5])
    >>> parse("m.__class__", lib)
    Traceback (most recent call last):
    ...
    ValueError: position 1: '.' is not part of a formula (attributes are not allowed)
    """
    stack: list[_Part] = []
    lower = _Lowering(library)
    for kind, name, position in _postfix(text, library):
        if kind == "number":
            stack.append(lower.number(float(name), position))
        elif kind == "variable":
            stack.append(_Part([name]))
        elif kind == "constant":  # not fitted yet: starts at 1
            stack.append(_Part([name], [1.0]))
        else:
            arity = OPERATIONS[name].arity
            if len(stack) < arity:
                raise ValueError(f"position {position}: {name} lacks an argument")
            arguments = stack[len(stack) - arity :]
            del stack[len(stack) - arity :]
            stack.append(lower.apply(name, arguments, position))
    if len(stack) != 1:
        raise ValueError("the formula is empty" if not stack else "an operator is missing between two terms")
    _check_said(stack[0])
    return Expression(library.encode(stack[0].names), np.array(stack[0].constants))


def to_infix(program: Program, library: Library, constants: Constants | None = None, digits: int = 6) -> str:
    """Write a whole program as infix text that :func:`parse` reads again (equal in value).

    Fitted constants print as their values with ``digits`` significant digits, or as the token's name.

    >>> lib = Library("full", ["x"], literals=["1"], constant=True)
    >>> to_infix(lib.encode(["div", "sq", "add", "x", "1", "mul", "c", "sin", "x"]), lib, np.array([-0.25]))
    '(x + 1)^2/(-0.25*sin(x))'
    """
    subtree_sizes(program, library)
    stack: list[tuple[str, int]] = []  # text, precedence
    used = int((library.opcode[program] == CONSTANT).sum())
    if constants is not None and len(constants) < used:
        raise ValueError(f"the program has {used} fitted constants, but {len(constants)} values were given")
    for i in program[::-1]:
        token = library.tokens[i]
        if token.opcode == CONSTANT and constants is not None:
            used -= 1
            value = f"{float(constants[used]):.{digits}g}"
            stack.append((value, 3 if value.startswith("-") else 5))
        elif token.arity == 0:
            stack.append((token.symbol, 5))
        elif token.arity == 1:
            stack.append(_unary_text(token.symbol, stack.pop()))
        else:
            left = stack.pop()
            stack.append(_binary_text(token.symbol, left, stack.pop()))
    return stack[0][0]


def _unary_text(symbol: str, argument: tuple[str, int]) -> tuple[str, int]:
    if symbol == "-":
        return "-" + _bracket(argument, 4), 3
    if symbol == "1/":
        return "1/" + _bracket(argument, 3), 2
    if symbol.startswith("^"):
        return _bracket(argument, 5) + symbol, 4
    return f"{symbol}({argument[0]})", 5


def _binary_text(symbol: str, left: tuple[str, int], right: tuple[str, int]) -> tuple[str, int]:
    precedence = _PRECEDENCE.get(symbol)
    if precedence is None:
        return f"{symbol}({left[0]}, {right[0]})", 5
    if symbol == "^":
        return f"{_bracket(left, 5)}^{_bracket(right, 5)}", precedence
    if right[1] == 3:  # a sign after an operator is bracketed
        right = (f"({right[0]})", 5)
    tail = _bracket(right, precedence + (symbol in "-/"))
    if precedence == 1:
        return f"{_bracket(left, 1)} {symbol} {tail}", 1
    return f"{_bracket(left, 2)}{symbol}{tail}", 2


def _brief(name: str) -> str:
    """A name as a message can show it."""
    return repr(name if len(name) <= MOST_SHOWN else f"{name[:MOST_SHOWN]}...")


def _bracket(item: tuple[str, int], least: int) -> str:
    return item[0] if item[1] >= least else f"({item[0]})"


def _lexemes(text: str) -> list[tuple[str, str, int]]:
    """(kind, text, position) of every number, name and operator."""
    if len(text) > MAX_TEXT:
        raise ValueError(f"the formula has {len(text)} characters; the limit is {MAX_TEXT}")
    found, position = [], 0
    end = len(text.rstrip())
    while position < end:
        match = _LEXEME.match(text, position)
        if match is None or not text.isascii():
            bad = text[position:].lstrip()[0] if match is None else next(c for c in text if not c.isascii())
            position = text.index(bad, position) if match is None else text.index(bad)
            hint = " (attributes are not allowed)" if bad == "." else ""
            raise ValueError(f"position {position}: {bad!r} is not part of a formula{hint}")
        kind = str(match.lastgroup)
        found.append((kind, match[kind].replace("**", "^"), match.start(kind)))
        position = match.end()
    return found


def _postfix(text: str, library: Library) -> list[tuple[str, str, int]]:
    """Shunting-yard (Dijkstra 1961): (kind, name, position) with kind number, variable, constant or operation."""
    lexemes = _lexemes(text)
    output: list[tuple[str, str, int]] = []
    pending: list[tuple[str, int]] = []  # operators, "(" and "name(" with their positions
    arguments: list[int] = []  # commas seen in each open call; -1 for plain parentheses
    operand_next = True
    for n, (kind, name, position) in enumerate(lexemes):
        if len(pending) > MAX_NESTING:
            raise ValueError(f"position {position}: nested deeper than {MAX_NESTING} levels")
        if operand_next:
            called = n + 1 < len(lexemes) and lexemes[n + 1][1] == "("
            if kind == "number":
                output.append(("number", name, position))
                operand_next = False
            elif kind == "name" and called:
                pending.append((_function(name, position), position))
            elif kind == "name":
                output.append(_operand(name, position, library))
                operand_next = False
            elif name == "-":
                pending.append(("neg", position))
            elif name == "(":
                is_call = bool(pending) and n > 0 and lexemes[n - 1][0] == "name"
                arguments.append(0 if is_call else -1)
                pending.append(("(", position))
            elif name != "+":
                raise ValueError(f"position {position}: a term is missing before {_brief(name)}")
        elif name in _BINARY:
            while pending and _binds_first(pending[-1][0], name):
                _emit(output, pending.pop())
            pending.append((name, position))
            operand_next = True
        elif name in (")", ","):
            while pending and pending[-1][0] != "(":
                _emit(output, pending.pop())
            if not pending or (name == "," and arguments[-1] < 0):
                raise ValueError(f"position {position}: {name!r} without an open bracket before it")
            if name == ",":
                arguments[-1] += 1
                operand_next = True
            else:
                pending.pop()
                commas = arguments.pop()
                if commas >= 0:
                    _close_call(output, pending.pop(), commas)
        else:
            raise ValueError(f"position {position}: an operator is missing before {_brief(name)}")
    if operand_next:
        raise ValueError("the formula is empty" if not lexemes else "the formula ends where a term is expected")
    while pending:
        if pending[-1][0] == "(":
            raise ValueError(f"position {pending[-1][1]}: this bracket is never closed")
        _emit(output, pending.pop())
    return output


def _binds_first(before: str, name: str) -> bool:
    rank = _PRECEDENCE.get(before, 0)
    return rank > _PRECEDENCE[name] or (rank == _PRECEDENCE[name] and name != "^")


def _emit(output: list[tuple[str, str, int]], operator: tuple[str, int]) -> None:
    output.append(("operation", _BINARY.get(operator[0], operator[0]), operator[1]))


def _close_call(output: list[tuple[str, str, int]], call: tuple[str, int], commas: int) -> None:
    arity = OPERATIONS[call[0]].arity
    if commas + 1 != arity:
        raise ValueError(f"position {call[1]}: {call[0]} takes {arity} argument(s), not {commas + 1}")
    output.append(("operation", call[0], call[1]))


def _function(name: str, position: int) -> str:
    name = FUNCTION_ALIASES.get(name, name)
    if name not in OPERATIONS:
        raise ValueError(f"position {position}: unknown function {_brief(name)}; known: {', '.join(OPERATIONS)}")
    return name


def _operand(name: str, position: int, library: Library) -> tuple[str, str, int]:
    if name in library.variables:
        return "variable", name, position
    if name in NAMED_NUMBERS:
        return "number", repr(NAMED_NUMBERS[name]), position
    if name in OPERATIONS or name in FUNCTION_ALIASES:
        raise ValueError(f"position {position}: {name} needs its argument in brackets")
    if library.constant_id >= 0 and name == library.tokens[library.constant_id].name:
        return "constant", name, position
    raise ValueError(f"position {position}: unknown name {_brief(name)}; variables: {', '.join(library.variables)}")


@dataclass(slots=True)
class _Part:
    """A sub-expression as prefix names; ``number`` is its value where it holds no variable."""

    names: list[str]
    constants: list[float] = field(default_factory=list)
    number: float = math.nan


class _Lowering:
    """Says operations with the tokens that a library has."""

    def __init__(self, library: Library):
        self.library = library
        self.literals = {t.value: t.name for t in library.tokens if t.opcode == LITERAL}
        self.constant = library.tokens[library.constant_id].name if library.constant_id >= 0 else None

    def number(self, value: float, position: int) -> _Part:
        if not math.isfinite(value):
            raise ValueError(f"position {position}: the number is too large for double precision")
        if value in self.literals:
            return _Part([self.literals[value]], number=value)
        if self.constant is not None:
            return _Part([self.constant], [value], value)
        if -value in self.literals and "neg" in self.library:
            return _Part(["neg", self.literals[-value]], number=value)
        return _Part([], number=value)  # may still vanish, as the 3 of x^3 does where products express it

    def apply(self, name: str, parts: list[_Part], position: int) -> _Part:
        """One operation on its arguments, said with the library's tokens."""
        number = _fold(name, [part.number for part in parts])
        if math.isinf(number):
            raise ValueError(f"position {position}: these numbers make one beyond {sys.float_info.max:.3g}")
        if name == "pow" and math.isfinite(parts[1].number):
            result = self._power(parts[0], parts[1].number, parts[1], position)
        elif name == "neg" and parts[0].names == [self.constant]:
            result = _Part([*parts[0].names], [-parts[0].constants[0]])
        elif name == "div" and parts[0].number == 1.0 and "inv" in self.library:
            result = _join("inv", parts[1:])
        elif name in self.library:
            result = _join(name, parts)
        else:
            result = self._substitute(name, parts, position)
        if len(result.names) > MAX_LENGTH:
            raise ValueError(f"position {position}: the expression has more than {MAX_LENGTH} tokens")
        result.number = number
        return result

    def _power(self, base: _Part, exponent: float, written: _Part, position: int) -> _Part:
        if abs(exponent) > MAX_EXPONENT:
            raise ValueError(f"position {position}: exponent {exponent:g} is beyond {MAX_EXPONENT}")
        if exponent < 0:
            return self.apply(
                "inv", [self._power(base, -exponent, self.number(-exponent, position), position)], position
            )
        direct = {0.5: "sqrt", 2.0: "sq", 3.0: "cube"}.get(exponent)
        if exponent == 1.0:
            return base
        if direct is not None and direct in self.library:
            return _join(direct, [base])
        if "pow" in self.library:
            return _join("pow", [base, written])
        whole = int(exponent)
        if exponent == whole and whole > 0:
            power = base
            for _ in range(whole - 1):
                power = self.apply("mul", [power, base], position)
            return power
        if exponent == whole + 0.5 and "sqrt" in self.library:
            return self.apply("mul", [self._power(base, whole, written, position), _join("sqrt", [base])], position)
        raise ValueError(f"position {position}: the library cannot say the exponent {exponent:g}")

    def _substitute(self, name: str, parts: list[_Part], position: int) -> _Part:
        first = parts[0]
        if name == "neg" and self.constant is not None:
            return self.apply("mul", [_Part([self.constant], [-1.0]), first], position)
        if name == "neg" and 0.0 in self.literals:
            return self.apply("sub", [self.number(0.0, position), first], position)
        if name == "sub" and "neg" in self.library:
            return self.apply("add", [first, _join("neg", [parts[1]])], position)
        if name == "div" and "inv" in self.library:
            return self.apply("mul", [first, _join("inv", [parts[1]])], position)
        if name == "inv" and "div" in self.library:
            return _join("div", [self.number(1.0, position), first])
        if name in ("sq", "cube", "sqrt"):
            exponent = {"sq": 2.0, "cube": 3.0, "sqrt": 0.5}[name]
            written = self.number(exponent, position) if "pow" in self.library else first
            return self._power(first, exponent, written, position)
        if name == "tan" and "sin" in self.library and "cos" in self.library:
            return self.apply("div", [_join("sin", [first]), _join("cos", [first])], position)
        raise ValueError(f"position {position}: the library lacks {name!r}; it has: {' '.join(self.library.functions)}")


def _join(name: str, parts: list[_Part]) -> _Part:
    names, constants = [name], []
    for part in parts:
        _check_said(part)
        names += part.names
        constants += part.constants
    return _Part(names, constants)


def _check_said(part: _Part) -> None:
    if not part.names:
        raise ValueError(f"the library has neither the number {part.number:g} nor fitted constants")


def _fold(name: str, numbers: list[float]) -> float:
    """Value of plain arithmetic on numbers, so that exponents such as ``(1/2)`` are understood; else NaN.

    Infinity where finite numbers make one beyond what a float holds.
    """
    if not all(math.isfinite(number) for number in numbers):
        return math.nan
    if name == "neg":
        return -numbers[0]
    if name == "div" and numbers[1] != 0.0:
        return numbers[0] / numbers[1]
    if name in ("add", "sub"):
        return numbers[0] + numbers[1] if name == "add" else numbers[0] - numbers[1]
    if name == "pow" and numbers[0] > 0.0 and abs(numbers[1]) <= MAX_EXPONENT:
        try:
            return float(numbers[0] ** numbers[1])
        except OverflowError:
            return math.inf
    return math.prod(numbers) if name == "mul" else math.nan
