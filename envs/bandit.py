"""Bandits with k arms: Bernoulli, Gaussian, and the adversarial ones of Algorithm Distillation.

A task is a seed: the arms of task n are the same in every batch, process and session. The space of
seeds is cut into disjoint ranges for training, validation and test.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.arguments import whole
from envs.drawing import AGENT, FLOOR, GOLD, INK, Canvas
from envs.kernel_cache import kernel
from envs.states import COUNT, FINITE, Bound
from envs.streams import Rows, Streams, normal_at, uniform_at, uniform_of_seeds
from envs.tasks import TaskSet, TaskWorld
from envs.world import Info, State, check_choices, discrete_actions

SEEDS = TaskSet(range(2**40))
SPLIT = SEEDS.split(validation=1 / 8, test=1 / 8)
FIRST_TEST_TASK = SPLIT.test[0]
MOST_ARMS = 2**20
FAVOURED = 0.95  # share of the adversarial tasks in which the favoured arms pay


class Bandit(TaskWorld):
    """What the bandits share: the pulls, the arms that a task's seed draws, and the regret."""

    state_arrays: ClassVar[tuple[str, ...]] = ("task", "steps", "pulls", "earned", "regret", "cumulative_regret")

    def __init__(self, num_envs: int, arms: int, show_means: bool, split: str, tasks: Sequence[int] | None):
        arms = whole("arms", arms, 2, MOST_ARMS)
        super().__init__(num_envs, SPLIT, split, tasks)
        self.arms, self.show_means = arms, show_means
        self.action_space = spaces.Discrete(arms)
        self.observation_space = spaces.Box(0.0, 1.0, (arms,), dtype=np.float32) if show_means else spaces.Discrete(1)
        self.means = np.zeros((num_envs, arms))  # (B, k) expected reward of each arm
        self.oracle_arm = np.zeros(num_envs, dtype=np.int64)  # (B,) the arm with the highest mean
        self.best_mean = np.zeros(num_envs)  # (B,)
        self.steps = np.zeros(num_envs, dtype=np.int64)  # (B,) pulls of this episode
        self.pulls = np.zeros((num_envs, arms), dtype=np.int64)  # (B, k) in this episode
        self.earned = np.zeros((num_envs, arms))  # (B, k) rewards in this episode
        self.regret = np.zeros(num_envs)  # (B,) of the last pull: best mean - mean of the pulled arm
        self.cumulative_regret = np.zeros(num_envs)  # (B,) of this episode

    @abstractmethod
    def draw_means(self, tasks: NDArray[np.int64]) -> NDArray[np.float64]:
        """The arms' expected rewards, which follow from the tasks' numbers alone: (n, k), in [0, 1]."""

    @abstractmethod
    def pull(self, actions: NDArray[np.int64], streams: Streams, rewards: NDArray[np.float64]) -> int:
        """Write every copy's reward; returns the first row whose arm does not exist, or -1."""

    def read_tasks(self, rows: Rows) -> None:
        """Draw the arms."""
        means = self.draw_means(self.task[rows])
        self.means[rows], self.oracle_arm[rows], self.best_mean[rows] = means, means.argmax(axis=1), means.max(axis=1)

    def start_episodes(self, rows: Rows, streams: Streams) -> None:
        """Forget the pulls."""
        self.steps[rows] = self.pulls[rows] = self.earned[rows] = 0
        self.regret[rows] = self.cumulative_regret[rows] = 0.0

    def step(self, actions: NDArray[Any], streams: Streams) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Pull one arm of every copy."""
        actions, rewards = discrete_actions(actions), np.empty(self.num_envs)
        check_choices(actions, self.pull(actions, streams, rewards), self.arms)
        self.steps += 1
        _count(actions, rewards, self.pulls, self.earned)
        self.regret = self.best_mean - self.means[self.all_rows, actions]
        self.cumulative_regret += self.regret
        return rewards, np.zeros(self.num_envs, dtype=np.bool_)

    def observe(self, rows: Rows) -> NDArray[Any]:
        """Nothing, (n,) zeros; or the arms' means where they are shown, (n, k)."""
        return self.means[rows].astype(np.float32) if self.show_means else np.zeros(len(rows), dtype=np.int64)

    def info(self, rows: Rows) -> Info:
        """Task, regret (expected, of the last pull and of the episode), the oracle's arm and expected return."""
        return {
            "task": self.at(self.task, rows).copy(),
            "regret": self.at(self.regret, rows).copy(),
            "cumulative_regret": self.at(self.cumulative_regret, rows).copy(),
            "oracle_arm": self.at(self.oracle_arm, rows).copy(),
            "optimal_return": self.at(self.best_mean, rows) * self.at(self.steps, rows),
        }

    def state_bounds(self) -> Mapping[str, Bound]:
        """Counts and sums of rewards."""
        return {
            "task": (0, 2**40),
            "steps": COUNT,
            "pulls": COUNT,
            "earned": FINITE,
            "regret": FINITE,
            "cumulative_regret": FINITE,
        }

    def set_state(self, state: State) -> None:
        """Continue from what ``get_state`` returned."""
        super().set_state(state)
        self.read_tasks(self.all_rows)

    def render(self, row: int, mode: str) -> str | NDArray[np.uint8]:
        """Draw the arms of one copy: their means, what they earned on average, and how often they were pulled."""
        return self._text(row) if mode == "ansi" else self._picture(row)

    def _text(self, row: int) -> str:
        lines = ["arm  mean   earned  pulls"]
        for arm, (mean, earned, pulls) in enumerate(
            zip(self.means[row], self.earned[row], self.pulls[row], strict=True)
        ):
            average = f"{earned / pulls:6.2f}" if pulls else "     -"
            lines.append(f"{arm:3d}  {mean:.2f}  {average}  {pulls:6d} " + "#" * min(int(pulls), 40))
        return "\n".join([*lines, f"regret {self.cumulative_regret[row]:.2f}", ""])

    def _picture(self, row: int) -> NDArray[np.uint8]:
        """One column per arm: height = average reward, line = true mean, width = share of the pulls."""
        height, pitch = 160, 40
        canvas = Canvas(height + 16, pitch * self.arms + 8)
        share = self.pulls[row] / max(1, self.steps[row])
        for arm in range(self.arms):
            left = 4 + pitch * arm
            canvas.box(8, left + 2, height + 8, left + pitch - 2, FLOOR, radius=6)
            if self.pulls[row, arm]:
                average = float(np.clip(self.earned[row, arm] / self.pulls[row, arm], 0.02, 1.0))
                half = 3 + (pitch / 2 - 7) * share[arm]
                middle = left + pitch / 2
                canvas.box(8 + height * (1 - average), middle - half, height + 8, middle + half, AGENT, 0.85, radius=3)
            level = 8 + height * (1 - float(self.means[row, arm]))
            canvas.box(
                level - 1.5,
                left + 4,
                level + 1.5,
                left + pitch - 4,
                GOLD if arm == self.oracle_arm[row] else INK,
                radius=1.5,
            )
        return canvas.image()


class BernoulliBandit(Bandit):
    """A bandit whose arms pay 0 or 1.

    ## Description
    Each task has ``arms`` arms; arm i pays 1 with its own probability, drawn from U(0, 1), and else 0. The agent
    sees nothing but, in a trial (``BernoulliBanditTrial-v0``), what it did and earned before.

    ## Action Space
    ``Discrete(arms)``: the arm to pull.

    ## Observation Space
    ``Discrete(1)``: nothing. With ``show_means``, ``Box(0, 1, (arms,))``: the arms' probabilities.

    ## Rewards
    0 or 1.

    ## Starting State
    The task is uniform over the seeds of ``split``.

    ## Episode End
    Truncated after 200 pulls; it never terminates.

    ## Information
    ``task``; ``regret`` and ``cumulative_regret``: best mean - mean of the pulled arm, of the last pull and summed
    over the episode; ``oracle_arm``; ``optimal_return``: expected return of that arm in as many pulls.

    ## Arguments
    ``arms``; ``show_means``; ``split``: "all", "train", "validation", "test", or some of them joined by "+";
    ``tasks``: draw from these task numbers only.

    ## References
    Duan et al. 2016, "RL^2", arXiv:1611.02779; Laskin et al. 2022, arXiv:2210.14215.

    ## Version History
    v0: first version.
    """

    def __init__(
        self,
        num_envs: int = 1,
        arms: int = 5,
        show_means: bool = False,
        split: str = "all",
        tasks: Sequence[int] | None = None,
    ):
        super().__init__(num_envs, arms, show_means, split, tasks)

    def draw_means(self, tasks: NDArray[np.int64]) -> NDArray[np.float64]:
        """Independent, uniform in [0, 1)."""
        return uniform_of_seeds(tasks, self.arms)

    def pull(self, actions: NDArray[np.int64], streams: Streams, rewards: NDArray[np.float64]) -> int:
        """Toss the pulled arm's coin."""
        return _pull_bernoulli(actions, streams, self.means, rewards)


class GaussianBandit(Bandit):
    """A bandit whose arms pay real numbers.

    ## Description
    As ``BernoulliBandit``, but the rewards are real numbers around the arm's mean, which is drawn from U(0, 1).

    ## Action Space
    ``Discrete(arms)``: the arm to pull.

    ## Observation Space
    ``Discrete(1)``: nothing. With ``show_means``, ``Box(0, 1, (arms,))``: the arms' means.

    ## Rewards
    The pulled arm's mean plus normal noise of standard deviation ``reward_std``.

    ## Starting State
    The task is uniform over the seeds of ``split``.

    ## Episode End
    Truncated after 200 pulls; it never terminates.

    ## Information
    As ``BernoulliBandit``.

    ## Arguments
    ``reward_std`` (0.3 as in the reference), and those of ``BernoulliBandit``.

    ## References
    Lee et al. 2023, "Supervised Pretraining Can Learn In-Context Reinforcement Learning", arXiv:2306.14892.

    ## Version History
    v0: first version.
    """

    def __init__(
        self,
        num_envs: int = 1,
        arms: int = 5,
        reward_std: float = 0.3,
        show_means: bool = False,
        split: str = "all",
        tasks: Sequence[int] | None = None,
    ):
        if reward_std < 0:
            raise ValueError(f"reward_std must not be negative: {reward_std}")
        super().__init__(num_envs, arms, show_means, split, tasks)
        self.reward_std = float(reward_std)

    def draw_means(self, tasks: NDArray[np.int64]) -> NDArray[np.float64]:
        """Independent, uniform in [0, 1)."""
        return uniform_of_seeds(tasks, self.arms)

    def pull(self, actions: NDArray[np.int64], streams: Streams, rewards: NDArray[np.float64]) -> int:
        """The pulled arm's mean plus noise."""
        return _pull_gaussian(actions, streams, self.means, self.reward_std, rewards)


class AdversarialBandit(BernoulliBandit):
    """A Bernoulli bandit whose paying arms are odd in training and even in test, from Algorithm Distillation.

    ## Description
    As ``BernoulliBandit``, but the paying arms have probabilities from U(0.5, 1) and the others from U(0, 0.5). In 95 %
    of the training and validation tasks the odd arms pay, in 95 % of the test tasks the even ones: who learned "pull
    odd arms" instead of learning to explore fails in test.

    ## Action Space
    ``Discrete(arms)``: the arm to pull.

    ## Observation Space
    ``Discrete(1)``: nothing. With ``show_means``, ``Box(0, 1, (arms,))``: the arms' probabilities.

    ## Rewards
    0 or 1.

    ## Starting State
    The task is uniform over the seeds of ``split``.

    ## Episode End
    Truncated after 100 pulls; it never terminates.

    ## Information
    As ``BernoulliBandit``.

    ## Arguments
    As ``BernoulliBandit``, with 10 arms unless ``arms`` says otherwise.

    ## References
    Laskin et al. 2022, "In-context Reinforcement Learning with Algorithm Distillation", arXiv:2210.14215.

    ## Version History
    v0: first version.
    """

    def __init__(
        self,
        num_envs: int = 1,
        arms: int = 10,
        show_means: bool = False,
        split: str = "all",
        tasks: Sequence[int] | None = None,
    ):
        super().__init__(num_envs, arms, show_means, split, tasks)

    def draw_means(self, tasks: NDArray[np.int64]) -> NDArray[np.float64]:
        """Uniform in the upper half of [0, 1) for the paying arms and in the lower half for the others."""
        numbers = uniform_of_seeds(tasks, self.arms + 1)  # the last column decides which arms pay
        favoured_parity = np.where(tasks >= FIRST_TEST_TASK, 0, 1)
        parity = np.where(numbers[:, -1] < FAVOURED, favoured_parity, 1 - favoured_parity)
        paying = np.arange(self.arms) % 2 == parity[:, None]  # (n, k)
        means: NDArray[np.float64] = (numbers[:, :-1] + paying) / 2
        return means


@kernel()
def _pull_bernoulli(
    actions: NDArray[np.int64], streams: Streams, means: NDArray[np.float64], rewards: NDArray[np.float64]
) -> int:
    for i in range(len(actions)):
        if actions[i] < 0 or actions[i] >= means.shape[1]:
            return i
    for i in range(len(actions)):
        rewards[i] = 1.0 if uniform_at(streams, i) < means[i, actions[i]] else 0.0
    return -1


@kernel()
def _pull_gaussian(
    actions: NDArray[np.int64], streams: Streams, means: NDArray[np.float64], std: float, rewards: NDArray[np.float64]
) -> int:
    for i in range(len(actions)):
        if actions[i] < 0 or actions[i] >= means.shape[1]:
            return i
    for i in range(len(actions)):
        rewards[i] = means[i, actions[i]] + std * normal_at(streams, i)
    return -1


@kernel()
def _count(
    actions: NDArray[np.int64], rewards: NDArray[np.float64], pulls: NDArray[np.int64], earned: NDArray[np.float64]
) -> None:
    for i in range(len(actions)):
        pulls[i, actions[i]] += 1
        earned[i, actions[i]] += rewards[i]
