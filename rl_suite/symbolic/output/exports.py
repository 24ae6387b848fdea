"""A law for other programs: as Python with numpy, as C, as a torch module, and a front as a LaTeX table."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from envs.symbolic.tokens import CONSTANT, LITERAL, VARIABLE
from rl_suite.symbolic.laws.law import Law
from rl_suite.symbolic.laws.polish import Finished

if TYPE_CHECKING:
    from torch import nn

_INFIX = {"add": "({} + {})", "sub": "({} - {})", "mul": "({} * {})", "div": "({} / {})", "neg": "(-{})"}
_NUMPY = {
    **_INFIX,
    "pow": "np.power({}, {})",
    "min": "np.minimum({}, {})",
    "max": "np.maximum({}, {})",
    "atan2": "np.arctan2({}, {})",
    "inv": "(1.0 / {})",
    "sq": "np.square({})",
    "cube": "np.power({}, 3)",
    "step": "np.heaviside({}, 1.0)",
    **{f"a{name}": f"np.arc{name}({{}})" for name in ("sin", "cos", "tan")},
    **{name: f"np.{name}({{}})" for name in ("sqrt", "abs", "sign", "exp", "log", "sin", "cos", "tan")},
    **{name: f"np.{name}({{}})" for name in ("sinh", "cosh", "tanh")},
}
_C = {
    **_INFIX,
    "pow": "pow({}, {})",
    "min": "fmin({}, {})",
    "max": "fmax({}, {})",
    "atan2": "atan2({}, {})",
    "inv": "(1.0 / {})",
    "sq": "pow({}, 2.0)",
    "cube": "pow({}, 3.0)",
    "abs": "fabs({})",
    "sign": "sign_of({})",
    "step": "({} >= 0.0 ? 1.0 : 0.0)",
    **{name: f"{name}({{}})" for name in ("sqrt", "exp", "log", "sin", "cos", "tan", "asin", "acos", "atan")},
    **{name: f"{name}({{}})" for name in ("sinh", "cosh", "tanh")},
}
_RESERVED = {
    "auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum", "extern", "float",
    "for", "goto", "if", "inline", "int", "long", "register", "restrict", "return", "short", "signed", "sizeof",
    "static", "struct", "switch", "typedef", "union", "unsigned", "void", "volatile", "while", "np", "law", "sign_of",
    "and", "as", "assert", "async", "await", "class", "def", "del", "elif", "except", "finally", "from", "global",
    "import", "in", "is", "lambda", "None", "nonlocal", "not", "or", "pass", "raise", "True", "False", "try", "with",
    "yield", "y0", "y1", "yn", "j0", "j1", "jn", "gamma", "main", "NAN", "INFINITY", "HUGE_VAL", "HUGE", "MAXFLOAT",
}  # fmt: skip


def python_code(law: Law) -> str:
    """A Python function ``law(...)`` of the columns with numpy.

    >>> from envs.symbolic.text import parse
    >>> from envs.symbolic.tokens import Library
    >>> from rl_suite.symbolic.laws.pieces import from_program
    >>> library = Library("full", ["m", "v"], constant=True)
    >>> read = parse("0.5*m*v^2", library)
    >>> print(python_code(from_program(read.program, read.constants.tolist(), library).law(library)))
    import numpy as np
    <BLANKLINE>
    <BLANKLINE>
    def law(m, v):
        return ((0.5 * m) * np.square(v))
    <BLANKLINE>
    """
    names = _argument_names(law)
    body = _written(law, _NUMPY, names)
    if "np." not in body and not any(name in body for name in names):  # a constant has the shape of the columns
        body = f"{body} + 0 * {names[0]}"
    return f"import numpy as np\n\n\ndef law({', '.join(names)}):\n    return {body}\n"


def c_code(law: Law) -> str:
    """A C function ``double law(double ...)`` of the columns; link with ``-lm``."""
    names = _argument_names(law)
    helper = "static double sign_of(double x) { return (x > 0.0) - (x < 0.0); }\n\n" if _uses(law, "sign") else ""
    arguments = ", ".join(f"double {name}" for name in names)
    return f"#include <math.h>\n\n{helper}double law({arguments})\n{{\n    return {_written(law, _C, names)};\n}}\n"


def _uses(law: Law, name: str) -> bool:
    return name in law.library and law.library.id(name) in law.program


def _argument_names(law: Law) -> list[str]:
    """Names of columns that no language has a meaning for; two columns never get one name."""
    found: list[str] = []
    for name in law.library.variables:
        while name in _RESERVED or name in _C or name.startswith(("M_", "FP_", "MATH_")) or name in found:
            name = f"{name}_" if not name.startswith(("M_", "FP_", "MATH_")) else f"_{name}"
        found.append(name)
    return found


def _written(law: Law, phrases: dict[str, str], names: Sequence[str]) -> str:
    """The law in a language, with every number to the last bit."""
    stack: list[str] = []
    k = len(law.constants)
    for i in law.program[::-1].tolist():
        token = law.library.tokens[i]
        if token.opcode == VARIABLE:
            stack.append(names[token.index])
        elif token.opcode in (LITERAL, CONSTANT):
            k -= token.opcode == CONSTANT
            stack.append(_number(token.value if token.opcode == LITERAL else float(law.constants[k])))
        else:
            arguments = [stack.pop() for _ in range(token.arity)]
            stack.append(phrases[token.name].format(*arguments))
    return stack[0]


def _number(value: float) -> str:
    text = repr(value)
    return f"({text})" if value < 0 else text


def torch_module(law: Law) -> "nn.Module":
    """The law as a module: X (..., d) -> (...); its measured constants are parameters, which may be trained further."""
    import torch
    from torch import Tensor, nn

    functions: dict[str, Callable[..., Tensor]] = {
        "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div, "pow": torch.pow,
        "min": torch.minimum, "max": torch.maximum, "atan2": torch.atan2, "neg": torch.neg, "inv": torch.reciprocal,
        "sq": torch.square, "cube": lambda a: a**3, "step": lambda a: (a >= 0).to(a.dtype),
        **{name: getattr(torch, name) for name in ("sqrt", "abs", "sign", "exp", "log", "sin", "cos", "tan", "asin")},
        **{name: getattr(torch, name) for name in ("acos", "atan", "sinh", "cosh", "tanh")},
    }  # fmt: skip
    library, program = law.library, law.program.tolist()

    class LawModule(nn.Module):
        """A law of its columns."""

        def __init__(self) -> None:
            super().__init__()
            free = [exact is None for exact in law.exact]
            self.measured = nn.Parameter(torch.tensor(law.constants[free], dtype=torch.float64))
            self.register_buffer("known", torch.tensor(law.constants, dtype=torch.float64), persistent=False)
            self._place = [sum(free[:k]) if is_free else -1 for k, is_free in enumerate(free)]

        def forward(self, X: Tensor) -> Tensor:
            """Values (...) at X (..., d)."""
            stack: list[Tensor] = []
            k = len(self._place)
            for i in program[::-1]:
                token = library.tokens[i]
                if token.opcode == VARIABLE:
                    stack.append(X[..., token.index])
                elif token.opcode == CONSTANT:
                    k -= 1
                    place = self._place[k]
                    value = self.measured[place] if place >= 0 else self.known[k]  # type: ignore[index]
                    stack.append(value.to(X.dtype).expand(X.shape[:-1]))
                elif token.opcode == LITERAL:
                    stack.append(torch.full(X.shape[:-1], token.value, dtype=X.dtype, device=X.device))
                else:
                    arguments = [stack.pop() for _ in range(token.arity)]
                    stack.append(functions[token.name](*arguments))
            return stack[0]

    return LawModule()


def latex_table(front: Sequence[Finished], target: str = "y") -> str:
    """The front as a LaTeX table (package ``booktabs``), simplest first."""
    rows = [
        rf"    ${_escaped(target)} = {f.latex}$ & {f.complexity} & {math.sqrt(f.nmse):.3g} & {f.bits:.0f} \\"
        for f in front
    ]
    head = [
        r"\begin{tabular}{lrrr}",
        r"    \toprule",
        r"    law & complexity & error (NRMSE) & bits \\",
        r"    \midrule",
    ]
    return "\n".join([*head, *rows, r"    \bottomrule", r"\end{tabular}", ""])


def _escaped(name: str) -> str:
    return name.replace("_", r"\_")


def as_rows(front: Sequence[Finished]) -> list[dict[str, Any]]:
    """The front as plain rows: complexity, error (NRMSE), bits and law."""
    return [
        {"complexity": f.complexity, "error": math.sqrt(f.nmse), "bits": f.bits, "law": f.text} for f in front
    ]  # fmt: skip
