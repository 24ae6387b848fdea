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


# name, world, steps per episode, episodes per trial, options
_TASK_WORLDS: tuple[tuple[str, str, int, int, dict[str, object]], ...] = (
    ("BernoulliBandit", "envs.bandit:BernoulliBandit", 200, 1, {}),
    ("GaussianBandit", "envs.bandit:GaussianBandit", 200, 1, {}),
    ("AdversarialBandit", "envs.bandit:AdversarialBandit", 100, 1, {}),
    ("CyclicBandit", "envs.cyclic_bandit:CyclicBandit", 10, 10, {}),
    ("DarkRoom", "envs.gridworld:DarkRoom", 20, 10, {}),
    ("DarkRoomHard", "envs.gridworld:DarkRoom", 20, 10, {"size": 17, "reward_once": True}),
    (
        "DarkRoomPermuted",
        "envs.gridworld:DarkRoom",
        20,
        10,
        {"permute_actions": True, "start": (0, 0), "goal": (8, 8)},
    ),
    ("ToolUse", "envs.tools:ToolUse", 100, 1, {}),
    ("DarkKeyToDoor", "envs.gridworld:DarkKeyToDoor", 50, 10, {}),
)
for _name, _world, _steps, _episodes, _options in _TASK_WORLDS:
    _register_world(_name, _world, _steps, **_options)
    _trial = {"inner": _world, "episode_steps": _steps, "episodes_per_trial": _episodes, **_options}
    _register_world(f"{_name}Trial", "envs.trial:Trial", None, **_trial)

_register_world("Durotaxis", "envs.durotaxis.env:Durotaxis", 200)
# three numbers for the whole colony: an action space that every algorithm for continuous actions knows
_register_world("DurotaxisRatio", "envs.durotaxis.env:Durotaxis", 200, action_mode="delete_ratio", max_nodes=64)
_register_world("SymbolicRegression", "envs.symbolic.env:SymbolicRegression", None)
