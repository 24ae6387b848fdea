"""Formulas of a result file as MathML, which browsers typeset without any library.

A formula is text from a file: Python's grammar takes it apart, nothing of it is evaluated, and what is not
plain arithmetic is shown as it stands.
"""

import ast
import re
from html import escape
from html.entities import name2codepoint

LONGEST, MOST_PARENTHESES = 2000, 60
SIGNS = {ast.Add: "+", ast.Sub: "&#8722;", ast.Mult: "&#8201;"}  # minus, a thin space for times
STRENGTH = {ast.Add: 1, ast.Sub: 1, ast.Mult: 2, ast.Div: 2, ast.Pow: 4}
CONSTANTS = {"pi": "&#960;", "E": "e"}
GREEK = range(0x391, 0x3CA)  # code points of the letters
LETTERS = {"hbar": 0x210F} | {name: code for name, code in name2codepoint.items() if code in GREEK}


def mathml(target: str, formula: str) -> str:
    """``target = formula`` as a ``<math>`` element; the formula as plain text in it where it cannot be read."""
    body = expression(formula)
    if body is None:
        body = f"<mtext>{escape(formula[:LONGEST])}</mtext>"
    return f'<math displaystyle="true"><mrow>{_left(target)}<mo>=</mo>{body}</mrow></math>'


def _left(target: str) -> str:
    """The name of the target; dx/dt as a fraction."""
    slope = re.fullmatch(r"d(\w+)/d(\w+)", target)
    if slope is None:
        return _name(target)
    above, below = (f"<mrow><mi>d</mi>{_name(name)}</mrow>" for name in slope.groups())
    return f"<mfrac>{above}{below}</mfrac>"


def expression(formula: str) -> str | None:
    """The formula as MathML; None if it is no plain arithmetic."""
    if len(formula) > LONGEST or formula.count("(") > MOST_PARENTHESES:
        return None
    try:
        return _node(ast.parse(formula.strip(), mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _node(node: ast.expr, strength: int = 0) -> str:
    """One part, in parentheses if it binds more weakly than what is around it."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return f"<mn>{node.value:.6g}</mn>" if isinstance(node.value, float) else f"<mn>{node.value!r}</mn>"
    if isinstance(node, ast.Name):
        return f"<mi>{CONSTANTS[node.id]}</mi>" if node.id in CONSTANTS else _name(node.id)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return _enclosed(f"<mo>&#8722;</mo>{_node(node.operand, 2)}", strength > 2)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        return _call(node.func.id, [_node(argument) for argument in node.args])
    if isinstance(node, ast.BinOp):
        return _operation(node, strength)
    raise ValueError(f"no arithmetic: {type(node).__name__}")


def _name(name: str) -> str:
    """A variable: Greek letters as such, and what follows an underscore below the line."""
    stem, _, below = name.partition("_")
    if stem and below and "_" not in below:
        return f"<msub><mi>{_letter(stem)}</mi><mi>{_letter(below)}</mi></msub>"
    return f"<mi>{_letter(name)}</mi>"


def _letter(name: str) -> str:
    return f"&#{LETTERS[name]};" if name in LETTERS else escape(name)


def _call(name: str, arguments: list[str]) -> str:
    if name == "sqrt" and len(arguments) == 1:
        return f"<msqrt>{arguments[0]}</msqrt>"
    if name in ("Abs", "abs") and len(arguments) == 1:
        return f"<mrow><mo>|</mo>{arguments[0]}<mo>|</mo></mrow>"
    inside = "<mo>,</mo>".join(arguments)
    return f"<mrow><mi>{escape(name)}</mi><mo>&#8289;</mo><mo>(</mo>{inside}<mo>)</mo></mrow>"


def _operation(node: ast.BinOp, strength: int) -> str:
    kind = type(node.op)
    if kind is ast.Div:
        return f"<mfrac><mrow>{_node(node.left)}</mrow><mrow>{_node(node.right)}</mrow></mfrac>"
    if kind is ast.Pow:
        if _is_half(node.right):
            return f"<msqrt>{_node(node.left)}</msqrt>"
        return f"<msup><mrow>{_node(node.left, 5)}</mrow><mrow>{_node(node.right)}</mrow></msup>"
    if kind not in SIGNS:
        raise ValueError(f"no arithmetic: {kind.__name__}")
    own = STRENGTH[kind]
    right = _node(node.right, own + (kind is ast.Sub) + 2 * isinstance(node.right, ast.UnaryOp))  # never "a + -b"
    # two numbers side by side would read as one
    sign = "&#183;" if kind is ast.Mult and isinstance(node.right, ast.Constant) else SIGNS[kind]
    return _enclosed(f"{_node(node.left, own)}<mo>{sign}</mo>{right}", own < strength)


def _is_half(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.Div)
        and all(isinstance(end, ast.Constant) for end in (node.left, node.right))
        and (node.left.value, node.right.value) == (1, 2)  # type: ignore[attr-defined]
    )


def _enclosed(text: str, needed: bool) -> str:
    return f"<mrow><mo>(</mo>{text}<mo>)</mo></mrow>" if needed else f"<mrow>{text}</mrow>"
