"""Films of episodes through the wrapper: which, how long, and in which format."""

from pathlib import Path

import gymnasium as gym
import pytest
from PIL import Image

import envs  # noqa: F401  # registers the worlds
from rl_suite.errors import UserError
from rl_suite.viz.record_film import RecordFilm


def pictures(path: Path) -> int:
    with Image.open(path) as film:
        return int(getattr(film, "n_frames", 1))


def play(env: gym.Env, episodes: int, steps: int) -> None:
    for seed in range(episodes):
        env.reset(seed=seed)
        for action in range(steps):
            env.step(1 + action % 4)  # never the same picture twice in a row
    env.close()


def test_the_chosen_episodes_are_filmed(tmp_path: Path) -> None:
    room = gym.make("rl_suite/DarkRoom-v0", render_mode="rgb_array")
    play(RecordFilm(room, tmp_path / "films", episode_trigger=lambda number: number != 1), episodes=3, steps=4)
    films = sorted((tmp_path / "films").iterdir())
    assert [film.name for film in films] == ["rl-video-episode-0.webp", "rl-video-episode-2.webp"]
    assert 2 <= pictures(films[0]) <= 5  # a step into a wall repeats the picture, and the format keeps one of them


def test_gifs_of_a_fixed_length_and_of_steps(tmp_path: Path) -> None:
    room = gym.make("rl_suite/DarkRoom-v0", render_mode="rgb_array")
    films = tmp_path / "films"
    wrapped = RecordFilm(room, films, ".gif", step_trigger=lambda step: step == 2, video_length=2, name_prefix="run")
    play(wrapped, episodes=1, steps=8)
    assert [film.name for film in films.iterdir()] == ["run-step-2.gif"]


def test_worlds_that_draw_nothing_and_other_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="incompatible with RecordVideo"):
        RecordFilm(gym.make("rl_suite/DarkRoom-v0"), tmp_path / "films")
    with pytest.raises(UserError, match=r"a film is \.webp, \.gif or \.mp4"):
        RecordFilm(gym.make("rl_suite/DarkRoom-v0", render_mode="rgb_array"), tmp_path / "films", ".avi")
