"""Compile what the worlds and the search for laws compute with, so that no first start has to: two processes at once.

python -m rl_suite.warm_up        `make` calls it when it installs; kernels stay on disk until their sources change
"""

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed

import gymnasium as gym
import numpy as np

import envs  # noqa: F401  # registers the worlds
from rl_suite.cli import run_command
from rl_suite.progress import tell

SMALL = ("DarkRoom", "DarkKeyToDoor", "BernoulliBandit", "GaussianBandit", "AdversarialBandit", "CyclicBandit")
PROCESSES = 2


def play(*names: str) -> None:
    """Two steps of two copies of each world, which compiles all that it needs for any number."""
    for name in names:
        world = gym.make_vec(f"rl_suite/{name}-v0", num_envs=2)
        world.reset(seed=0)
        for _ in range(2):
            world.step(world.action_space.sample())
        world.close()


def colonies_and_priors() -> None:
    """The durotaxis world, and what a prior over laws sees of a table."""
    play("Durotaxis")
    from envs.symbolic.context import LEAST_ROWS, contexts

    contexts(np.ones((1, 1, LEAST_ROWS)), np.ones((1, LEAST_ROWS)), np.ones(1, np.int64))


def rooms_and_laws() -> None:
    """The small worlds, and a short search for the law of a small table, without a prior."""
    play(*SMALL)
    from rl_suite.experiments import load_experiment
    from rl_suite.shipped import shipped_file
    from rl_suite.symbolic.config import SymbolicConfig
    from rl_suite.symbolic.experiment import build_search, table_of

    words = ["experiment=symbolic_search,smoke", "search.budget=2000", "search.prior=null"]
    config = load_experiment(shipped_file("config.yaml"), words)
    assert isinstance(config, SymbolicConfig)
    build_search(config, table_of(config).data).run()


PARTS: dict[str, Callable[[], None]] = {
    "durotaxis and priors": colonies_and_priors,
    "rooms, bandits and laws": rooms_and_laws,
}


def _timed(part: str) -> tuple[str, float]:
    begun = time.monotonic()
    PARTS[part]()
    return part, time.monotonic() - begun


def main() -> None:
    """Compile all parts side by side and say how long each took."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(PROCESSES, len(PARTS)), mp_context=context) as pool:
        for done in as_completed([pool.submit(_timed, part) for part in PARTS]):
            part, seconds = done.result()
            tell(f"  {part}: ready after {seconds:.0f} s")


if __name__ == "__main__":
    run_command(main)
