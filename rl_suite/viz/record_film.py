"""Gymnasium's ``RecordVideo`` with a writer that needs no moviepy."""

import gc
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import gymnasium as gym
import numpy as np
from gymnasium.error import DependencyNotInstalled
from gymnasium.wrappers import RecordVideo
from numpy.typing import NDArray

from rl_suite.errors import UserError
from rl_suite.viz.video import ENDINGS, save_film


class RecordFilm(RecordVideo[Any, Any]):
    """Films episodes of any environment that draws itself (``render_mode="rgb_array"``).

    Which episodes, or which steps, and under which names, is said as to ``gymnasium.wrappers.RecordVideo``; moviepy,
    which that needs and which asks for an old Pillow, is not used.

    Args:
        env: the environment.
        video_folder: for the films; made if it is not there.
        ending: ``.webp``, ``.gif``, or ``.mp4`` (extra ``video``).
        triggers: further arguments of ``RecordVideo``: ``episode_trigger``, ``step_trigger``, ``video_length``, ...

    Raises:
        UserError: another ending.
        ValueError: the environment draws no pictures.
    """

    def __init__(
        self, env: gym.Env[Any, Any], video_folder: str | Path, ending: str = ".webp", **triggers: Any
    ) -> None:
        if ending not in ENDINGS:
            raise UserError(f"ending {ending!r}: a film is .webp, .gif or .mp4")
        self.ending = ending
        with suppress(DependencyNotInstalled):  # raised as its last deed, for a writer that is not used
            super().__init__(env, str(video_folder), **triggers)

    def stop_recording(self) -> None:
        """End the film and write it; one without pictures leaves no file."""
        frames, self.recorded_frames, self.recording = self.recorded_frames, [], False
        if frames:
            pictures = cast(list[NDArray[np.uint8]], frames)  # the constructor refuses worlds that draw anything else
            save_film(pictures, Path(self.video_folder) / f"{self._video_name}{self.ending}", self.frames_per_sec)
        self._video_name = None
        if self.gc_trigger and self.gc_trigger(self.episode_id):
            gc.collect()
