"""Names of columns in LaTeX: they are printed as they are, whatever sympy would make of ``fabs`` or ``crowbar``."""

import re

from sympy.printing.latex import greek_letters_set, other_symbols, tex_greek_dictionary

_LETTERS_DIGITS = re.compile(r"([A-Za-z]+)(\d*)")


def latex_name(name: str) -> str:
    """A name of letters, digits and underscores in LaTeX: Greek letters as such, digits and parts as indices.

    >>> [latex_name(name) for name in ("x0", "alpha", "T_room", "crowbar", "x0_")]
    ['x_{0}', '\\\\alpha', 'T_{room}', 'crowbar', 'x_{0\\\\_}']
    """
    parts = name.rstrip("_").split("_")
    match = _LETTERS_DIGITS.fullmatch(parts[0])
    base, digits = (match[1], match[2]) if match else (parts[0], "")
    indices = [part for part in (digits, *map(_letter, parts[1:])) if part]
    indices += [r"\_"] * (len(name) - len(name.rstrip("_")))
    return _letter(base) + (f"_{{{' '.join(indices)}}}".replace(r" \_", r"\_") if indices else "")


def _letter(word: str) -> str:
    if word in tex_greek_dictionary:
        return str(tex_greek_dictionary[word])
    known = word in other_symbols or (word.lower() in greek_letters_set and word in (word.lower(), word.capitalize()))
    return f"\\{word}" if known else word
