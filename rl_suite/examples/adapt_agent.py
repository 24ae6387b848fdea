"""Adapt a trained agent to a shifted world: the reward moves along the wall, and 5 % of the parameters follow it.

python -m rl_suite.examples.adapt_agent
"""

from typing import Any

import numpy as np
import torch
from rich.console import Console
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv

from rl_suite.examples.usage import run
from rl_suite.meta_learning import AdapterConfig, AdapterType
from rl_suite.meta_learning.adapters.policies import adapt_policy
from rl_suite.vec_env import make_vec_env

COPIES, STEPS, EPISODES = 32, 24_576, 64
BEFORE, SHIFTED = 0, 4  # cells of the 9 x 9 room that pay: a corner, and the middle of a wall beside it
RATE, FACTOR = 1e-3, 10.0  # adapters learn faster than whole networks do, and need to


def room(goal: int) -> VecEnv:
    """Copies of a dark room whose reward lies in one cell."""
    return make_vec_env("rl_suite/DarkRoom-v0", COPIES, tasks=[goal])


def measured(agent: PPO, goal: int) -> float:
    """Mean return of episodes of 20 steps."""
    world = room(goal)
    world.seed(1)
    observation: Any = world.reset()
    earned, ended = np.zeros(COPIES), 0
    while ended < EPISODES:
        observation, rewards, dones, _ = world.step(agent.predict(observation)[0])
        earned += rewards
        ended += int(dones.sum())
    return float(earned.sum() / ended)


def main() -> None:
    """Train in one room, then go on in another: as it was, with adapters alone, and with everything."""
    console = Console(highlight=False)
    torch.set_num_threads(1)  # more only wait for each other in networks this small

    # 1. Any on-policy agent of stable-baselines3, trained where the reward was.
    settings: dict[str, Any] = {"n_steps": 64, "batch_size": 256, "n_epochs": 4, "gamma": 0.95, "ent_coef": 0.03}
    base = PPO("MlpPolicy", room(BEFORE), learning_rate=RATE, seed=0, **settings).learn(STEPS)
    weights = base.policy.state_dict()
    there, here = measured(base, BEFORE), measured(base, SHIFTED)
    console.print(f"trained: {there:.1f} where it learned, {here:.1f} after the shift")

    # 2. Everything goes on learning.
    whole = PPO("MlpPolicy", room(SHIFTED), learning_rate=RATE, seed=0, **settings)
    whole.policy.load_state_dict(weights)
    console.print(f"all parameters: {measured(whole.learn(STEPS), SHIFTED):.1f}")

    # 3. LoRA in every linear layer; the base stays as it is.
    small = PPO("MlpPolicy", room(SHIFTED), learning_rate=FACTOR * RATE, seed=0, **settings)
    small.policy.load_state_dict(weights)
    config = AdapterConfig(adapter_type=AdapterType.LORA, target_modules="all-linear", lora_r=1, lora_alpha=4)
    adapters = adapt_policy(small, config)
    after, share = measured(small.learn(STEPS), SHIFTED), adapters.get_parameter_efficiency()
    console.print(f"adapters alone, {share:.1%} of the parameters: {after:.1f}")

    # 4. Without them it is the agent of before, bit for bit.
    adapters.disable_adapters()
    console.print(f"switched off, where it learned: {measured(small, BEFORE):.1f}")


if __name__ == "__main__":
    run(main, __doc__)
