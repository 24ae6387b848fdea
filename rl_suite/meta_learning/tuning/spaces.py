"""What an architecture is: one choice per name. Spaces are plain mappings, tables that were measured, or cells."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl_suite.errors import UserError
from rl_suite.loading import BRIEF
from rl_suite.meta_learning.tuning.graphs import describe_graphs, find_graph

Code = tuple[int, ...]
"""One index per name, into its choices."""
Architecture = dict[str, Any]

SMALL = 20_000  # architectures that are listed rather than drawn
TRIES = 200  # draws for something unseen


class Space:
    """Names and what may be chosen for each of them.

    Args:
        choices: name -> at least one choice, all different; what is chosen is handed on as it is.

    Raises:
        UserError: no names, a name without choices, or a choice that stands there twice.
    """

    def __init__(self, choices: Mapping[str, Sequence[Any]]):
        if not choices:
            raise UserError("an empty space: give names with lists of choices")
        for name, values in choices.items():
            if not isinstance(name, str | int):
                raise UserError(f"space: a choice is named by text, not by {BRIEF.repr(name)}")
            if isinstance(values, str) or not isinstance(values, Sequence) or not values:
                raise UserError(f"space: {BRIEF.repr(name)} needs a list of choices, not {BRIEF.repr(values)}")
            if len({spelled(value) for value in values}) < len(values):
                raise UserError(f"space: {BRIEF.repr(name)} has a choice twice")
        self.names = tuple(choices)
        self.choices = {name: tuple(values) for name, values in choices.items()}
        self.sizes = tuple(len(values) for values in self.choices.values())
        lists = [spelled(values) for values in self.choices.values()]
        groups = [[i for i, other in enumerate(lists) if other == values] for values in dict.fromkeys(lists)]
        self._alike = [group for group in groups if len(group) > 1]  # names that share one list of choices
        self.graph = find_graph(self.choices, self._alike)

    @property
    def size(self) -> int:
        """Number of combinations."""
        return int(np.prod([float(n) for n in self.sizes])) if len(self.sizes) else 0

    def decode(self, code: Code) -> Architecture:
        """The architecture as users meet it."""
        return {name: self.choices[name][i] for name, i in zip(self.names, code, strict=True)}

    def encode(self, architecture: Mapping[str, Any]) -> Code:
        """The code of an architecture, whatever the order of its names.

        Raises:
            UserError: other names, or something that is no choice.
        """
        if set(architecture) != set(self.names):
            raise UserError(f"an architecture names {', '.join(self.names)}, not {BRIEF.repr(list(architecture))}")
        code = []
        for name in self.names:
            known = [spelled(value) for value in self.choices[name]]
            value = spelled(architecture[name])
            if value not in known:
                raise UserError(f"{name}: {BRIEF.repr(architecture[name])} is no choice")
            code.append(known.index(value))
        return tuple(code)

    def key(self, code: Code) -> str:
        """The canonical form: two codes with the same key are one architecture, and are paid for once."""
        return spelled(dict(sorted(self.decode(code).items())))

    def has(self, code: Code) -> bool:
        """Whether the code is in the space."""
        return True

    def draw(self, rng: np.random.Generator) -> Code:
        """A code, all equally likely."""
        return tuple(int(rng.integers(n)) for n in self.sizes)

    def change(self, code: Code, rng: np.random.Generator) -> Code:
        """The code with one other choice; itself where there is none."""
        near = self.neighbours(code)
        return near[int(rng.integers(len(near)))] if near else code

    def neighbours(self, code: Code) -> list[Code]:
        """All codes that differ in one choice."""
        found = [
            (*code[:place], value, *code[place + 1 :])
            for place, n in enumerate(self.sizes)
            for value in range(n)
            if value != code[place]
        ]
        return [near for near in found if self.has(near)]

    def all(self) -> Iterator[Code]:
        """Every code of the space."""
        return (code for code in product(*map(range, self.sizes)) if self.has(code))

    def describe(self, codes: Sequence[Code]) -> NDArray[np.float64]:
        """Numbers (n, width) that a surrogate sees beside the choices: how often each choice was made, for names
        that share one list of choices (whichever of the names it was)."""
        array = np.asarray(codes).reshape(len(codes), len(self.names))
        columns = []
        for group in self._alike:
            columns += [(array[:, group] == value).sum(1) for value in range(self.sizes[group[0]])]
        return np.stack(columns, 1).astype(float) if columns else np.zeros((len(codes), 0))

    def describe_graph(self, codes: Sequence[Code]) -> NDArray[np.float64]:
        """What the choices draw (n, width), where one name says which of the others reads which; width 0 otherwise."""
        if self.graph is None:
            return np.zeros((len(codes), 0))
        return describe_graphs(np.asarray(codes).reshape(len(codes), len(self.names)), self.graph)


class ListedSpace(Space):
    """Some of the combinations only, such as those of a table."""

    def __init__(self, choices: Mapping[str, Sequence[Any]], codes: Sequence[Code]):
        super().__init__(choices)
        if not len(codes):
            raise UserError("a table without architectures")
        self.codes = [tuple(map(int, code)) for code in codes]
        self.places = {code: place for place, code in enumerate(self.codes)}

    @property
    def size(self) -> int:
        """Number of architectures listed."""
        return len(self.codes)

    def has(self, code: Code) -> bool:
        """Whether the code is listed."""
        return code in self.places

    def draw(self, rng: np.random.Generator) -> Code:
        """A listed code."""
        return self.codes[int(rng.integers(len(self.codes)))]

    def all(self) -> Iterator[Code]:
        """Every listed code."""
        return iter(self.codes)


def as_space(space: Space | Mapping[str, Sequence[Any]]) -> Space:
    """A space as it is, or one of a plain mapping."""
    if isinstance(space, Space):
        return space
    if not isinstance(space, Mapping):
        raise UserError(f"a space is a mapping of names to lists of choices, not {type(space).__name__}")
    return Space(space)


def spelled(value: Any) -> str:
    """One spelling per value; keys in order, so that it does not matter how a mapping was written down."""
    return json.dumps(value, sort_keys=True, default=repr)
