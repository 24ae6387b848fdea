"""Watch a colony find its way up a gradient of stiffness, and see what tells it from luck.

    python -m rl_suite.examples.durotaxis_watch [folder]

Writes an episode as an animation, as npz and as CSV, and prints measures beside those on flat ground, from assays:
episodes of fixed length, which no rule ends by where the colony went.
"""

from pathlib import Path
from typing import Any

import gymnasium as gym
from rich.console import Console
from rich.table import Table

import envs  # noqa: F401  # registers the world
from agents.durotaxis_baselines import UpGradient
from envs.durotaxis.replay import Recorder, Replay, resimulate
from rl_suite.examples.usage import run

SEED = 7
SHOWN = (
    "progress_px", "velocity_up_um_h", "velocity_across_um_h", "forward_migration_index", "durotactic_index",
    "straightness", "persistence_h", "msd_exponent", "stiffness_centroid_kpa", "area_um2", "nodes",
    "births",
)  # fmt: skip


def watch(**options: Any) -> tuple[Replay, dict[str, float]]:
    """Let the scripted agent play one episode and record it."""
    env = Recorder(gym.make("rl_suite/Durotaxis-v0", action_mode="delete_ratio", **options))
    agent = UpGradient(env.action_space, seed=SEED)
    observation, info = env.reset(seed=SEED)
    ended = False
    while not ended:
        batch = {key: value[None] for key, value in observation.items()}
        observation, _, terminated, truncated, info = env.step(agent.predict(batch)[0][0])
        ended = terminated or truncated
    return env.replay(), info


def main(folder: Path) -> None:
    """Record, save, compare."""
    folder.mkdir(parents=True, exist_ok=True)
    console = Console()
    replay, _ = watch(substrate="gaussian")
    on_gradient, on_flat = (watch(substrate=field, mode="assay")[1] for field in ("gaussian", "flat"))
    table = Table(title="the same agent and seed")
    for heading in ("measure", "gaussian field", "flat control"):
        table.add_column(heading, justify="left" if heading == "measure" else "right")
    for name in SHOWN:
        table.add_row(name, f"{on_gradient[name]:.3g}", f"{on_flat[name]:.3g}")
    console.print(table)
    replay.save(folder / "durotaxis.npz")
    replay.save_csv(folder / "durotaxis.csv")
    replay.save_animation(folder / "durotaxis.webp", fps=6)
    again = resimulate(Replay.load(folder / "durotaxis.npz"))
    console.print(f"{len(replay)} steps, {len(replay.lineage())} nodes lived; second run has the same hash:", end=" ")
    console.print(again.hash() == replay.hash())
    console.print(f"look at {folder / 'durotaxis.webp'}")


if __name__ == "__main__":
    run(main, __doc__, folder="runs/examples")
