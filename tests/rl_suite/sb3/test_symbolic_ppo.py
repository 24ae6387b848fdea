"""Stock MaskablePPO learns a tiny law through the world's masks."""

import numpy as np
from sb3_contrib import MaskablePPO

from envs.symbolic.datasets import Dataset
from rl_suite.benchmarks import Options, symbolic_speed
from rl_suite.vec_env import make_vec_env

X = np.linspace(-1.0, 1.0, 20)[:, None]
LAW = Dataset("square", ("x",), X, X[:, 0] ** 2 + X[:, 0])
ID = "rl_suite/SymbolicRegression-v0"


def mean_return(choose, seed, steps=60):
    env = make_vec_env(ID, 64, task=LAW, functions=["add", "mul", "sin"], max_length=7, expressions=False)
    env.seed(seed)
    observation, returns = env.reset(), []
    for _ in range(steps):
        masks = np.stack(env.env_method("action_masks"))
        observation, rewards, dones, _ = env.step(choose(observation, masks))
        returns += rewards[dones].tolist()
    return float(np.mean(returns))


def test_maskable_ppo_beats_random_legal_tokens():
    env = make_vec_env(ID, 64, task=LAW, functions=["add", "mul", "sin"], max_length=7, expressions=False)
    model = MaskablePPO(
        "MultiInputPolicy", env, n_steps=32, batch_size=512, n_epochs=6, learning_rate=2e-3, seed=0, device="cpu"
    )
    model.learn(20_000)
    rng = np.random.default_rng(1)
    random = mean_return(lambda _, masks: np.where(masks, rng.random(masks.shape), -1.0).argmax(axis=1), seed=1)
    learned = mean_return(lambda o, masks: model.predict(o, action_masks=masks, deterministic=True)[0], seed=1)
    assert learned > random + 0.15
    assert learned > 0.8


def test_the_speed_benchmark_runs():
    result = symbolic_speed.run(Options(quick=True, repeats=1))
    assert all(row.ours > 0 for row in result.rows)
    assert {row.unit for row in result.rows} == {"programs/s", "fits/s", "%", "steps/s"}
