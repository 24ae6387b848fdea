"""Worlds. ``import envs`` registers every id with Gymnasium under ``rl_suite/``.

``gym.make("envs:rl_suite/DarkRoom-v0")`` works alone: the prefix imports this package.
"""

from gymnasium.envs.registration import register


def _register_world(name: str, world: str, max_episode_steps: int | None, **options: object) -> None:
    """Register ``rl_suite/<name>-v0`` with both faces of one world class, ``"package.module:Class"``."""
    register(
        id=f"rl_suite/{name}-v0",
        entry_point="envs.batch:SingleEnv",
        vector_entry_point="envs.batch:BatchEnv",
        max_episode_steps=max_episode_steps,
        kwargs={"world": world, **options},
    )
