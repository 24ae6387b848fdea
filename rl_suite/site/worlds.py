"""One page for every registered world: its spaces, a picture that it drew itself, and its docstring."""

import inspect
import re
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from PIL import Image

import envs  # noqa: F401  # registers the worlds
from envs.world import world_class

PREFIX = "rl_suite/"
TRIALS = "Trial"  # all ids that end so are one world around another, and share a page
STEPS, SEED = 12, 3  # random steps before the picture is taken


def world_ids() -> list[str]:
    """Every id that has a page of its own."""
    ids = [name for name in gym.registry if name.startswith(PREFIX)]
    return sorted(name for name in ids if not _bare(name).endswith(TRIALS) or name == "rl_suite/DarkRoomTrial-v0")


def trial_ids() -> list[str]:
    """Every id of the world that plays several episodes on one task."""
    return sorted(name for name in gym.registry if name.startswith(PREFIX) and _bare(name).endswith(TRIALS))


def slug(name: str) -> str:
    """The file of a world's page, without its ending.

    >>> slug("rl_suite/DarkRoom-v0")
    'darkroom'
    """
    return "trial" if _bare(name).endswith(TRIALS) else _bare(name).lower()


def title(name: str) -> str:
    """What the menu calls a world.

    >>> title("rl_suite/DarkKeyToDoor-v0"), title("rl_suite/DarkRoomTrial-v0")
    ('Dark Key To Door', 'Trials')
    """
    return "Trials" if _bare(name).endswith(TRIALS) else re.sub(r"(?<=[a-z])(?=[A-Z])", " ", _bare(name))


def write_page(name: str, folder: Path) -> Path:
    """Write ``<slug>.md`` and its picture into ``folder``; returns the page."""
    env = gym.make(name, render_mode="rgb_array")
    picture = folder / f"{slug(name)}.png"
    Image.fromarray(photograph(env)).save(picture)
    page = folder / f"{slug(name)}.md"
    page.write_text(page_text(name, env, picture.name), encoding="utf-8")
    env.close()
    return page


def page_text(name: str, env: gym.Env[Any, Any], picture: str) -> str:
    """The Markdown of one world."""
    spec = gym.spec(name)
    heading, _, body = inspect.cleandoc(world_class(spec.kwargs["world"]).__doc__ or "").partition("\n")
    ids = trial_ids() if name in trial_ids() else [name]
    given = {key: value for key, value in spec.kwargs.items() if key != "world"} if len(ids) == 1 else {}
    facts = {
        "Id": ", ".join(f"`{each}`" for each in ids),
        "Action space": _space(env.action_space),
        "Observation space": _space(env.observation_space),
        "Steps": "of the world's own choosing" if spec.max_episode_steps is None else f"{spec.max_episode_steps}",
        "Set by the id": ", ".join(f"`{key}={value!r}`" for key, value in given.items()) or "nothing",
        "Make it": f'`gym.make("envs:{name}")`, or `gym.make_vec("envs:{name}", num_envs=1024)`',
    }
    rows = "\n".join(f"| {key} | {value} |" for key, value in facts.items())
    table = f"| | |\n|---|---|\n{rows}"
    shown = f"![{title(name)}, drawn by itself]({picture})"
    return f"# {title(name)}\n\n{heading}\n\n{shown}\n\n{table}\n\n{rst_to_markdown(body.strip())}\n"


def photograph(env: gym.Env[Any, Any]) -> np.ndarray:
    """What the world draws after a few random steps, or at its start if an episode is over by then."""
    env.reset(seed=SEED)
    env.action_space.seed(SEED)
    image = env.render()
    for _ in range(STEPS):
        *_, terminated, truncated, _ = env.step(_some_action(env))
        if terminated or truncated:
            break
        image = env.render()
    return np.asarray(image)


def rst_to_markdown(text: str) -> str:
    """Code in Markdown's single backticks.

    >>> rst_to_markdown("``x`` of :class:`Bandit` and `y`")
    '`x` of `Bandit` and `y`'
    """
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text)
    return re.sub(r"``([^`]+)``", r"`\1`", text)


def _some_action(env: gym.Env[Any, Any]) -> Any:
    masks = getattr(env.unwrapped, "action_masks", None)
    if masks is None or not isinstance(env.action_space, gym.spaces.Discrete):
        return env.action_space.sample()
    return env.action_space.sample(np.asarray(masks(), dtype=np.int8).reshape(-1))


def _space(space: gym.Space[Any]) -> str:
    if isinstance(space, gym.spaces.Dict):
        return "`Dict` of " + ", ".join(f"`{key}` {each.shape} {each.dtype}" for key, each in space.items())
    text = re.sub(r"\s+", " ", str(space))
    return f"`{text}`" if len(text) < 90 else f"`{type(space).__name__}` of shape {space.shape}"


def _bare(name: str) -> str:
    return name.removeprefix(PREFIX).rpartition("-v")[0]
