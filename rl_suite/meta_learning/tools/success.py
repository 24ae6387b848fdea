"""Chances of success: Beta posteriors for each tool and kind of task that forget, and ways to explore with them."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from rl_suite.errors import UserError
from rl_suite.evaluation.statistics import Interval
from rl_suite.meta_learning.tools.profiles import TaskProfile, ToolProfile

Floats = NDArray[np.float64]
Call = tuple[int, float]
"""A tool, and how much of a success its call was: 1, 0, or between them where it is not known which tool failed."""

LEVEL_VARIANCE, OFFSET_VARIANCE = 0.03, 0.03  # of a chance, before anything was executed
WANDER = 4e-4  # variance that a level gains per execution: 0.02 either way
CHANCES = 0.02, 0.98  # nothing is predicted to be surer
LEAST_MASS = 1.0  # sum of a Beta distribution's parameters
MOST_FEATURES = 200  # the filters hold their square for each tool
FORGET = 0.99  # LinUCB: of all that was seen, per execution
WINDOW = 200  # executions that the sliding window holds (Garivier and Moulines 2011)
WIDTH = 0.25  # of the sliding window's bounds: half of 0.5, since no interval around a chance is wider than 1
OPTIMISM, RIDGE = 0.25, 3.0  # alpha and lambda of LinUCB (Li et al. 2010, arXiv:1003.0146)
DEVIATIONS = 1.0  # above the mean, for Bayes-UCB
RESHAPED = 0.3  # of the posteriors' spread that Thompson sampling draws with (Chapelle and Li 2011)


def kind_of(task: TaskProfile) -> tuple[str, str]:
    """What tasks with the same chances have in common."""
    return task.task_type, task.complexity.value


class Features:
    """Zeros and ones that say which kind of task it is: a constant, and one column for each kind as it comes.

    Kinds beyond ``MOST_FEATURES`` have no column of their own.
    """

    def __init__(self) -> None:
        self.names: list[str] = ["constant"]

    def of(self, words: Sequence[str]) -> tuple[Floats, int]:
        """Features (F,), and how many columns were added for words that come for the first time."""
        fresh = [word for word in words if word not in self.names][: MOST_FEATURES - len(self.names)]
        self.names += fresh
        return np.isin(self.names, ["constant", *words]).astype(np.float64), len(fresh)


class SuccessModel:
    """Chances that wander: for each tool a Kalman filter (1960) over its level and its offset in each kind of task.

    chance = level + offset of the kind. The level starts at the profile's reliability and wanders, which makes old
    outcomes count less; offsets stay. A prediction is a Beta distribution with the filter's mean and variance.

    Args:
        tools: their reliabilities are the levels that are believed at first.
    """

    def __init__(self, tools: Sequence[ToolProfile]):
        self.features = Features()
        self.mean = np.array([[tool.reliability] for tool in tools])  # (K, F)
        self.covariance = np.full((len(tools), 1, 1), LEVEL_VARIANCE)  # (K, F, F)
        self.counts = np.zeros((2, len(tools)))  # (2, K) successes and failures so far

    def posterior(self, task: TaskProfile) -> tuple[Floats, Floats]:
        """Both parameters of each tool's Beta distribution, (K,) each."""
        return self._beta(self._columns(task))

    def belief(self) -> tuple[Floats, Floats]:
        """The same for a tool's level alone, whatever the kind of task."""
        return self._beta(np.eye(1, len(self.features.names))[0])

    def expected(self, task: TaskProfile) -> Floats:
        """Predicted chance of each tool, (K,)."""
        a, b = self.posterior(task)
        return a / (a + b)

    def interval(self, task: TaskProfile, confidence: float) -> list[Interval]:
        """Predicted chance of each tool with its credible interval."""
        a, b = self.posterior(task)
        ends = beta_ends(a, b, confidence)
        return [Interval(*map(float, each)) for each in zip(a / (a + b), *ends, strict=True)]

    def draw(self, task: TaskProfile, rng: np.random.Generator) -> Floats:
        """One draw from every tool's posterior, (K,)."""
        return rng.beta(*self.posterior(task))

    def deviation(self, task: TaskProfile) -> Floats:
        """Standard deviation of every tool's posterior, (K,)."""
        a, b = self.posterior(task)
        spread: Floats = np.sqrt(a * b / (a + b + 1.0)) / (a + b)
        return spread

    def learn(self, task: TaskProfile, calls: Sequence[Call]) -> None:
        """Let the levels wander by one execution, then take in what its calls were."""
        x = self._columns(task)
        self.covariance[:, 0, 0] += WANDER
        for tool, success in calls:
            chance = float(np.clip(x @ self.mean[tool], *CHANCES))
            gain = self.covariance[tool] @ x / (x @ self.covariance[tool] @ x + chance * (1.0 - chance))
            self.mean[tool] += gain * (success - x @ self.mean[tool])
            self.covariance[tool] -= np.outer(gain, x @ self.covariance[tool])
            self.counts[:, tool] += success, 1.0 - success

    def blame(self, task: TaskProfile, sequence: Sequence[int]) -> list[Call]:
        """Calls of an execution that failed, nobody knows where: each tool's chance to have succeeded, given that.

        One step of expectation maximisation: tool i succeeded without all having succeeded,
        (p_i - P) / (1 - P) with P the product of all.
        """
        chance = self.expected(task)[list(sequence)]
        together = float(chance.prod())
        return [(tool, float((p - together) / (1.0 - together))) for tool, p in zip(sequence, chance, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        arrays = {name: getattr(self, name).tolist() for name in ("mean", "covariance", "counts")}
        return {"names": list(self.features.names), **arrays}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from plain values; ``UserError`` where they do not fit."""
        names, tools = names_from(state.get("names")), len(self.mean)
        self.counts = counts_from(state.get("counts"), self.counts.shape)
        self.mean = counts_from(state.get("mean"), (tools, len(names)), lowest=-np.inf)
        covariance = counts_from(state.get("covariance"), (tools, len(names), len(names)), lowest=-np.inf)
        if np.linalg.eigvalsh(covariance).min() < -1e-9 or np.abs(covariance - covariance.swapaxes(1, 2)).max() > 1e-9:
            raise UserError("not a saved tool learner: its covariances are none")
        self.features.names, self.covariance = names, covariance

    def _columns(self, task: TaskProfile) -> Floats:
        """Features of a task; a kind that comes for the first time gets an offset of its own."""
        x, fresh = self.features.of([" ".join(kind_of(task))])
        if fresh:
            self.mean = np.pad(self.mean, ((0, 0), (0, fresh)))
            self.covariance = np.pad(self.covariance, ((0, 0), (0, fresh), (0, fresh)))
            self.covariance[:, -1, -1] = OFFSET_VARIANCE
        return x

    def _beta(self, x: Floats) -> tuple[Floats, Floats]:
        mean = np.clip(self.mean @ x, *CHANCES)  # (K,)
        variance = np.einsum("f,kfg,g->k", x, self.covariance, x)
        mass = np.maximum(mean * (1.0 - mean) / np.maximum(variance, 1e-9) - 1.0, LEAST_MASS)
        return mean * mass, (1.0 - mean) * mass


class Explorer(Protocol):
    """Chances to plan with: those that are believed, made uncertain or optimistic so that tools are tried."""

    def chances(self, task: TaskProfile, rng: np.random.Generator) -> Floats:
        """Chance of success of each tool, (K,), to plan with."""
        ...

    def learn(self, task: TaskProfile, calls: Sequence[Call]) -> None:
        """Hear how the calls of one execution went."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Plain values of what it remembers on its own."""
        ...

    def load_state_dict(self, state: Mapping[str, Any], n_tools: int) -> None:
        """Continue from plain values."""
        ...


class Greedy:
    """No exploration: the predicted chances."""

    def __init__(self, model: SuccessModel):
        self.model = model

    def chances(self, task: TaskProfile, rng: np.random.Generator) -> Floats:
        """Predicted chances."""
        return self.model.expected(task)

    def learn(self, task: TaskProfile, calls: Sequence[Call]) -> None:
        """The model learns; there is nothing else to remember."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any], n_tools: int) -> None:
        """There is nothing to load."""


class Thompson(Greedy):
    """Draws from the posteriors (Thompson 1933); combined over a route as Wang and Chen 2018, arXiv:1803.04623.

    Tools drift, so that posteriors stay wide and whole draws explore for ever: they are drawn in towards the mean.
    """

    def chances(self, task: TaskProfile, rng: np.random.Generator) -> Floats:
        """One posterior draw, ``RESHAPED``."""
        mean = self.model.expected(task)
        return mean + RESHAPED * (self.model.draw(task, rng) - mean)


class BayesUCB(Greedy):
    """Upper bounds of the same posteriors (Kaufmann et al. 2012): what a tool did in other kinds of task counts."""

    def chances(self, task: TaskProfile, rng: np.random.Generator) -> Floats:
        """Mean plus ``DEVIATIONS`` standard deviations."""
        return np.minimum(self.model.expected(task) + DEVIATIONS * self.model.deviation(task), 1.0)


class LinUCB:
    """Upper bounds of a ridge regression on the kind of task: one model per tool, features in common with other kinds.

    Li et al. 2010. Features are a constant, the task's type and its complexity; names are learnt as they come. What is
    predicted is success minus the profile's reliability.
    """

    def __init__(self, model: SuccessModel):
        self.prior = model.mean[:, 0].copy()  # (K,) reliabilities of the profiles
        self.features = Features()
        self.products = np.zeros((len(self.prior), 1, 1))  # (K, F, F)
        self.targets = np.zeros((len(self.prior), 1))  # (K, F)

    def chances(self, task: TaskProfile, rng: np.random.Generator) -> Floats:
        """Estimate plus ``OPTIMISM`` standard deviations."""
        x = self._columns(task)
        inverse = np.linalg.inv(self.products + RIDGE * np.eye(len(x)))  # (K, F, F)
        estimate = self.prior + np.einsum("f,kfg,kg->k", x, inverse, self.targets)
        spread = np.sqrt(np.einsum("f,kfg,g->k", x, inverse, x))
        bounds: Floats = np.clip(estimate + OPTIMISM * spread, 0.0, 1.0)
        return bounds

    def learn(self, task: TaskProfile, calls: Sequence[Call]) -> None:
        """Add the calls to the normal equations; what is older counts less."""
        x = self._columns(task)
        self.products *= FORGET
        self.targets *= FORGET
        for tool, success in calls:
            self.products[tool] += np.outer(x, x)
            self.targets[tool] += (success - self.prior[tool]) * x

    def state_dict(self) -> dict[str, Any]:
        """Names of the features and the normal equations."""
        return {
            "names": list(self.features.names),
            "products": self.products.tolist(),
            "targets": self.targets.tolist(),
        }

    def load_state_dict(self, state: Mapping[str, Any], n_tools: int) -> None:
        """Continue from plain values."""
        names = names_from(state.get("names"))
        self.products = counts_from(state.get("products"), (n_tools, len(names), len(names)))
        self.targets = counts_from(state.get("targets"), (n_tools, len(names)), lowest=-np.inf)
        self.features.names = names

    def _columns(self, task: TaskProfile) -> Floats:
        x, fresh = self.features.of([f"type {task.task_type}", f"complexity {task.complexity.value}"])
        self.products = np.pad(self.products, ((0, 0), (0, fresh), (0, fresh)))
        self.targets = np.pad(self.targets, ((0, 0), (0, fresh)))
        return x


class SlidingWindowUCB:
    """Upper bounds from the last ``WINDOW`` executions alone (Garivier and Moulines 2011, arXiv:0805.3415)."""

    def __init__(self, model: SuccessModel):
        self.n_tools = len(model.mean)
        self.window: deque[tuple[tuple[str, str], tuple[Call, ...]]] = deque(maxlen=WINDOW)

    def chances(self, task: TaskProfile, rng: np.random.Generator) -> Floats:
        """Mean plus bound within the window, for this kind of task; 1 where there is nothing."""
        good, called = np.zeros(self.n_tools), np.zeros(self.n_tools)
        kind, total = kind_of(task), 1
        for other, calls in self.window:
            if other == kind:
                total += 1
                for tool, success in calls:
                    good[tool], called[tool] = good[tool] + success, called[tool] + 1
        n = np.maximum(called, 1.0)
        return np.where(called > 0, np.minimum(good / n + np.sqrt(WIDTH * np.log(total) / n), 1.0), 1.0)

    def learn(self, task: TaskProfile, calls: Sequence[Call]) -> None:
        """The oldest execution falls out of the window."""
        self.window.append((kind_of(task), tuple(calls)))

    def state_dict(self) -> dict[str, Any]:
        """The window."""
        return {
            "window": [{"kind": list(kind), "calls": [list(call) for call in calls]} for kind, calls in self.window]
        }

    def load_state_dict(self, state: Mapping[str, Any], n_tools: int) -> None:
        """Continue from plain values."""
        self.window.clear()
        for each in listed(state.get("window"))[-WINDOW:]:
            kind, calls = listed(each.get("kind"), str), listed(each.get("calls"), list)
            if len(kind) != 2 or not all(_is_call(call, n_tools) for call in calls):
                raise UserError("not a saved tool learner: the window holds something else than calls")
            self.window.append(((kind[0], kind[1]), tuple((call[0], float(call[1])) for call in calls)))


EXPLORERS: dict[str, Callable[[SuccessModel], Explorer]] = {
    "bayes_ucb": BayesUCB,
    "thompson": Thompson,
    "linucb": LinUCB,
    "sliding_window_ucb": SlidingWindowUCB,
    "greedy": Greedy,
}


def beta_ends(a: Floats, b: Floats, confidence: float) -> tuple[Floats, Floats]:
    """Ends of the central interval of Beta distributions."""
    tail = (1 - confidence) / 2
    low, high = beta.ppf([tail, 1 - tail], np.asarray(a)[..., None], np.asarray(b)[..., None]).swapaxes(0, -1)
    return low, high


def counts_from(values: Any, shape: tuple[int, ...], lowest: float = 0.0) -> Floats:
    """Numbers of a saved learner as an array; ``UserError`` where shape or range is another."""
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.full((), np.nan)
    if array.shape != shape or not np.isfinite(array).all() or (array < lowest).any():
        raise UserError(f"not a saved learner of these tools: numbers of shape {shape} are missing or out of range")
    return array


def names_from(value: Any) -> list[str]:
    """Names of features of a saved learner: different words, the constant first."""
    names: list[str] = listed(value, str)
    if names[:1] != ["constant"] or len(set(names)) < len(names):
        raise UserError("not a saved tool learner: its features have no names or the same")
    return names


def listed(value: Any, kind: type = dict) -> list[Any]:
    """A list of ``kind``; ``UserError`` otherwise."""
    if not isinstance(value, list) or not all(isinstance(each, kind) for each in value):
        raise UserError(f"not a saved tool learner: {str(value)[:80]} is no list of {kind.__name__}")
    return value


def _is_call(call: Sequence[Any], n_tools: int) -> bool:
    whole = len(call) == 2 and isinstance(call[0], int) and not isinstance(call[0], bool) and 0 <= call[0] < n_tools
    return whole and isinstance(call[1], int | float) and 0.0 <= call[1] <= 1.0
