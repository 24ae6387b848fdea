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


_register_world("BernoulliBandit", "envs.bandit:BernoulliBandit", 200)
_register_world("GaussianBandit", "envs.bandit:GaussianBandit", 200)
_register_world("AdversarialBandit", "envs.bandit:AdversarialBandit", 100)
_register_world("DarkRoom", "envs.gridworld:DarkRoom", 20)
_register_world("DarkRoomHard", "envs.gridworld:DarkRoom", 20, size=17, reward_once=True)
_register_world("DarkRoomPermuted", "envs.gridworld:DarkRoom", 20, permute_actions=True, start=(0, 0), goal=(8, 8))
_register_world("DarkKeyToDoor", "envs.gridworld:DarkKeyToDoor", 50)
