"""The world in which an expression is written token by token and rewarded for fitting data."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.spaces import WholeNumbers
from envs.states import COUNT, FINITE, FLAG, Bound, checked
from envs.streams import Rows, Streams
from envs.symbolic.datasets import Dataset, make_bank, make_sample
from envs.symbolic.fitting import Effort
from envs.symbolic.grammar import Grammar
from envs.symbolic.grammar_units import fill_unit_mask, start_units, unit_tables
from envs.symbolic.options import Options
from envs.symbolic.program import BLOCK, make_machine
from envs.symbolic.text import to_infix
from envs.symbolic.tokens import PAD, Program
from envs.symbolic.units import Units
from envs.symbolic.world_kernels import (
    GOING_ON,
    ILLEGAL,
    WHOLE,
    Scores,
    advance,
    closed_error,
    restart,
    rewrite,
    score,
)
from envs.tasks import TaskSet, TaskSplit, TaskWorld
from envs.world import Info, State, check_choices, discrete_actions, require_arrays


class SymbolicRegression(TaskWorld):
    """Find the law behind data by writing an expression, one token at a time.

    ## Description
    A task is a dataset (X, y). The agent writes a program in prefix order: an operation, then its arguments. When no
    argument is missing, the fitted constants ``c`` (if the library has them) are fitted to the data by
    Levenberg-Marquardt, and the expression is rewarded for how well it predicts y. Masks keep out tokens that
    cannot fit the length, that are useless (``log(exp(x))``, ``x - x``, functions of numbers only, sines inside
    sines) or, with units, that cannot lead to the units of y.

    ## Action Space
    ``Discrete(n)``: a token of ``library``, in its fixed order (functions, literals, ``c``, variables). Only tokens
    in ``action_masks()`` are legal; any other ends the episode without reward.

    ## Observation Space
    ``Dict``: ``tokens`` ``MultiDiscrete``, the program so far as ids + 1, 0 where nothing stands yet; ``slot``
    ``MultiDiscrete``: parent and sibling of the next token (ids + 1, 0 = none), open arguments, tokens left;
    ``action_mask`` ``MultiBinary(n)``; ``data`` ``Box(-10, 10, (points, variables + 1))``: a sample of the dataset,
    every column standardised, y last. With ``show_task`` also ``task`` ``Discrete``.

    ## Rewards
    0 until the expression is whole, then ``1 / (1 + NRMSE)``, where NRMSE is the root mean squared error over the
    standard deviation of y, less ``parsimony`` times the complexity; 0 where a value is not finite. With ``shaping``
    each step also earns ``shaping * (gamma * potential' - potential)``: the potential of an unfinished program is the
    reward that it would get with the first variable in all open places, and that of a finished one is 0, which leaves
    the best policy what it is (Ng, Harada, Russell 1999).

    ## Starting State
    The empty program; the task is uniform over those of the world.

    ## Episode End
    Terminated when the expression is whole, which ``max_length`` guarantees, or by an illegal token.

    ## Information
    ``task``: number of the task. Where an episode ends: ``nrmse``, ``complexity``, ``recovered`` (the share of
    variance left is below 1e-9, on test points outside the training ranges too where the law is known) and
    ``expression`` (infix text, "" if illegal); before that inf, 0, False and "".

    ## Arguments
    ``task``: a problem ("nguyen-1", "I.12.2"), a set ("nguyen", "feynman", ...), a ``Dataset``, or a list of such.
    ``X``, ``y``, ``variables``: own data instead, (n, d), (n,) and names. ``units``: True for the units that the
    problems declare, or a unit for each own variable ({"m": "kg", "v": "m/s"}), together with ``target_units``.
    ``functions``, ``literals``, ``constant``: the library, see ``Library``; ``max_constants`` per program.
    ``max_length``; ``rules``: other fields of ``Rules``. ``noise``: share of y's root mean square added to it.
    ``data_seed``; ``n_points``: of the training data. ``shown_points``: in the observation. ``parsimony``.
    ``shaping``, ``gamma``. ``restarts``, ``max_iterations``: of the fit of constants. ``show_task``.
    ``expressions``: whether ``info`` spells expressions out, which costs more than the step. ``splits``, ``split``,
    ``tasks``: which task numbers to draw from.

    ## References
    Petersen et al. 2021, "Deep symbolic regression", arXiv:1912.04871; Tenachi et al. 2023, "Deep symbolic
    regression for physics guided by units constraints", arXiv:2303.03192.

    ## Version History
    v0: first version.
    """

    state_arrays: ClassVar[tuple[str, ...]] = (
        "task",
        "masks",
        "slot",
        "outcome",
        "constants",
        "nrmse",
        "complexity",
        "recovered",
        "potential",
    )

    def __init__(
        self,
        num_envs: int = 1,
        splits: TaskSplit | None = None,
        split: str = "all",
        tasks: Sequence[int] | None = None,
        **options: Any,
    ):
        self.options = Options(**options)
        self.datasets = self.options.make_datasets()
        if splits is None:
            splits = TaskSplit(TaskSet(range(len(self.datasets))), TaskSet(range(0)), TaskSet(range(0)))
        super().__init__(num_envs, splits, split, tasks)
        self.library = self.options.make_library(self.datasets)
        self.rules = self.options.make_rules(self.library)
        self.grammar = Grammar(self.library, self.rules)
        self._effort = Effort(self.options.restarts, self.options.max_iterations)
        self._bank = make_bank(self.datasets)
        self._sample = make_sample(self.datasets, self.options.shown_points)
        self._machine = make_machine(self.library.table, self.library.n_variables)
        self._units = self._stack = None
        if self.options.units is not False:
            units = [_units_of(data) for data in self.datasets]
            self._units = unit_tables(units, self.library, self.rules.max_length)
            self._stack = start_units(num_envs, self.rules.max_length, self._units)
        self._first_masks = self._masks_of_empty_programs()
        self._first_potential = np.zeros(len(self.datasets))
        if self.options.shaping:
            self._first_potential = self._potential_of_empty_programs()
        self._make_arrays()
        self._make_spaces()

    def _make_arrays(self) -> None:
        n, most_constants = self.num_envs, self.options.most_constants(self.library, self.rules)
        self.partials = self.grammar.start(n)
        self.masks = np.zeros((n, len(self.library)), dtype=np.bool_)
        self.slot = np.zeros((n, 4), dtype=np.int16)
        self.outcome = np.zeros(n, dtype=np.int64)
        self.constants = np.ones((n, most_constants))
        self.nrmse = np.zeros(n)
        self.complexity = np.zeros(n, dtype=np.int64)
        self.recovered = np.zeros(n, dtype=np.bool_)
        self.potential = np.zeros(n)
        self._scores = Scores(self.constants, self.nrmse, self.complexity, self.recovered)
        self._scratch = np.empty((most_constants + 2, BLOCK))
        self._nothing_yet: Info = {
            "task": self.task.copy(),
            "nrmse": np.full(n, np.inf),
            "complexity": np.zeros(n, dtype=np.int64),
            "recovered": np.zeros(n, dtype=np.bool_),
        }
        if self.options.expressions:
            self._nothing_yet["expression"] = np.full(n, "", dtype=object)

    @classmethod
    def keywords(cls, given: Mapping[str, Any]) -> tuple[str, ...]:
        """Those of its splits and those of ``Options``."""
        return (*super().keywords(given), *(field.name for field in fields(Options)))

    def sample_tasks(self, rows: Rows, streams: Streams, options: Mapping[str, Any]) -> None:
        """Draw a task for each of ``rows``; a world with one task draws nothing."""
        if len(self.tasks) > 1 or "task" in options:
            super().sample_tasks(rows, streams, options)
        else:
            self.task[self.index(rows)] = self.tasks[0]

    def read_tasks(self, rows: Rows) -> None:
        """Nothing follows from a task's number but what the kernels look up."""

    def start_episodes(self, rows: Rows, streams: Streams) -> None:
        """Begin with the empty program."""
        restart(rows, self.partials, self.task, self._first_masks, self.masks, self.slot)
        index = self.index(rows)
        self.outcome[index] = GOING_ON
        self.potential[index] = self._first_potential[self.task[index]]

    def step(self, actions: NDArray[Any], streams: Streams) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Append one token to every program; those that become whole are fitted and rewarded."""
        actions = discrete_actions(actions)
        ended = advance(
            actions, self.grammar.tables, self._units, self.partials, self._stack, self._bank.n_variables,
            self.task, self.masks, self.slot, self.outcome,
        )  # fmt: skip
        check_choices(actions, -1 - ended if ended < 0 else -1, len(self.library))
        rewards = np.zeros(self.num_envs)
        terminated = self.outcome != GOING_ON
        if ended:
            self._score()
            whole = self.outcome == WHOLE
            np.divide(1.0, 1.0 + self.nrmse, out=rewards, where=whole)
            if self.options.parsimony:
                rewards[whole & (rewards > 0.0)] -= self.options.parsimony * self.complexity[whole & (rewards > 0.0)]
        if self.options.shaping:
            before, self.potential = self.potential, self._potentials()
            rewards += self.options.shaping * (self.options.gamma * self.potential - before)
        return rewards, terminated

    def observe(self, rows: Rows) -> dict[str, NDArray[Any]]:
        """Tokens so far, the slot of the next one, its mask and the data."""
        index = self.index(rows)
        seen: dict[str, NDArray[Any]] = {
            "tokens": self.at(self.partials.tokens, rows) + np.int16(1),
            "slot": self.slot[index].copy(),
            "action_mask": self.masks[index].astype(np.int8),
            "data": self._sample.take(self.at(self.task, rows), axis=0),
        }
        if self.options.show_task:
            seen["task"] = self.task[rows]
        return seen

    def info(self, rows: Rows) -> Info:
        """The task; and of ended episodes, how good their expressions are."""
        info: Info = {key: value[: len(rows)].copy() for key, value in self._nothing_yet.items()}
        info["task"][:] = self.at(self.task, rows)
        outcome = self.at(self.outcome, rows)
        ended = np.flatnonzero(outcome)
        if len(ended):
            of_world = rows[ended]
            info["nrmse"][ended] = self.nrmse[of_world]
            info["complexity"][ended] = self.complexity[of_world]
            info["recovered"][ended] = self.recovered[of_world]
            if self.options.expressions:
                for i in ended[outcome[ended] == WHOLE]:
                    info["expression"][i] = self.expression(int(rows[i]))
        return info

    def action_masks(self) -> NDArray[np.bool_]:
        """Legal tokens of every copy, (B, n)."""
        return self.masks.copy()

    def program(self, row: int) -> Program:
        """The tokens of one copy so far."""
        tokens: Program = self.partials.tokens[row, : self.partials.length[row]].copy()
        return tokens

    def expression(self, row: int, digits: int = 6) -> str:
        """The whole expression of one copy as infix text."""
        return to_infix(self.program(row), self.library, self.constants[row], digits)

    def render(self, row: int, mode: str) -> str | NDArray[np.uint8]:
        """The expression as text, or its tree and its fit as a picture."""
        from envs.symbolic import render  # matplotlib is loaded only where something is drawn

        scene = render.Scene(
            data=self.datasets[self.task[row]],
            library=self.library,
            program=self.program(row),
            constants=self.constants[row],
            whole=bool(self.outcome[row] == WHOLE),
            nrmse=float(self.nrmse[row]),
        )
        return render.as_text(scene) if mode == "ansi" else render.as_picture(scene)

    def get_state(self) -> State:
        """Copies of all arrays that the future depends on."""
        state = super().get_state()
        state["partials"] = [array.copy() for array in self.partials]
        state["stack"] = [array.copy() for array in self._stack or ()]
        return state

    def state_bounds(self) -> Mapping[str, Bound]:
        """Sizes of the arrays that the kernels look into; ``nrmse`` is infinite for what cannot be evaluated."""
        return {
            "task": (0, len(self.datasets) - 1),
            "masks": FLAG,
            "slot": (0, max(len(self.library), self.rules.max_length)),
            "outcome": (GOING_ON, ILLEGAL),
            "constants": (-np.inf, np.inf),
            "nrmse": (0, np.inf),
            "complexity": COUNT,
            "recovered": FLAG,
            "potential": FINITE,
        }

    def set_state(self, state: State) -> None:
        """Continue from what :meth:`get_state` returned."""
        require_arrays(state, ("partials", "outcome"))
        kept, partials = state["partials"], self.grammar.start(self.num_envs)
        if not isinstance(kept, Sequence) or len(kept) != len(partials):
            raise ValueError(f"state 'partials' must be {len(partials)} arrays")
        length = self.rules.max_length
        tokens = checked("tokens", kept[0], partials.tokens, (PAD, len(self.library) - 1))
        lengths = checked("length", kept[1], partials.length, (0, length))
        super().set_state(state)
        # The rest follows from the tokens: writing them again, one by one, lets no state in that play cannot reach.
        stack = None if self._units is None else start_units(self.num_envs, length, self._units)
        bad = rewrite(
            partials._replace(tokens=tokens, length=lengths), self.grammar.tables, self._units, partials, stack,
            self._bank.n_variables, self.task, self._first_masks, self.masks, self.slot,
        )  # fmt: skip
        illegal = self.outcome == ILLEGAL
        self.masks[illegal] = False
        contradicts = ~illegal & ((self.outcome == WHOLE) != (partials.slots == 0))
        if bad < 0 and contradicts.any():
            bad = int(np.flatnonzero(contradicts)[0])
        if bad >= 0:
            restart(self.all_rows, self.partials, self.task, self._first_masks, self.masks, self.slot)
            self.outcome[:] = GOING_ON
            raise ValueError(f"state 'partials': the program of row {bad} cannot have been written in this world")
        for array, rewritten in zip([*self.partials, *(self._stack or ())], [*partials, *(stack or ())], strict=True):
            array[...] = rewritten

    def _score(self) -> None:
        score(
            self.outcome, self.partials, self.task, self._bank, self._machine, self.library.complexity,
            self._effort, self._scratch, self._scores,
        )  # fmt: skip

    def _potentials(self) -> NDArray[np.float64]:
        """Potential of every copy, (B,); 0 where the episode has ended."""
        error = np.full(self.num_envs, np.inf)
        closed_error(self.outcome, self.partials, self.task, self._bank, self._machine, self._filler, error)
        return 1.0 / (1.0 + error)

    def _masks_of_empty_programs(self) -> NDArray[np.bool_]:
        """What may stand first, by task (T, n)."""
        empty = self.grammar.start(1)
        masks = np.repeat(self.grammar.masks(empty), len(self.datasets), axis=0)
        masks &= self.library.index < self._bank.n_variables[:, None]
        if self._units is not None:
            stack = start_units(1, self.rules.max_length, self._units)
            for t, n in enumerate(self._bank.n_variables):
                fill_unit_mask(self.grammar.tables, self._units, empty, stack, 0, t, n, masks[t])
        return masks

    def _potential_of_empty_programs(self) -> NDArray[np.float64]:
        n = len(self.datasets)
        error, outcome = np.full(n, np.inf), np.zeros(n, dtype=np.int64)
        closed_error(outcome, self.grammar.start(n), np.arange(n), self._bank, self._machine, self._filler, error)
        return 1.0 / (1.0 + error)

    @property
    def _filler(self) -> int:
        """The first variable's token."""
        return len(self.library) - self.library.n_variables

    def _make_spaces(self) -> None:
        n, length = len(self.library), self.rules.max_length
        self.action_space = spaces.Discrete(n)
        parts: dict[str, spaces.Space[Any]] = {
            "tokens": WholeNumbers([n + 1] * length, dtype=np.int16),
            "slot": WholeNumbers([n + 1, n + 1, length + 1, length + 1], dtype=np.int16),
            "action_mask": spaces.MultiBinary(n),
            "data": spaces.Box(
                -10.0, 10.0, (self.options.shown_points, self.library.n_variables + 1), dtype=np.float32
            ),
        }
        if self.options.show_task:
            parts["task"] = spaces.Discrete(len(self.datasets))
        self.observation_space = spaces.Dict(parts)


def _units_of(data: Dataset) -> Units:
    if data.units is None:
        raise ValueError(f"task {data.name} declares no units; choose one of the feynman set or give units yourself")
    return data.units
