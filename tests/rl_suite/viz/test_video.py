import importlib.util

import numpy as np
import pytest

from rl_suite.errors import UserError
from rl_suite.viz.video import save_mp4

FRAMES = [np.full((32, 48, 3), shade, np.uint8) for shade in (0, 120, 240)]
HAS_VIDEO = all(importlib.util.find_spec(name) for name in ("imageio", "imageio_ffmpeg"))


def test_a_film_needs_its_name(tmp_path):
    with pytest.raises(UserError, match=r"must be called \.mp4, not film\.avi"):
        save_mp4(FRAMES, tmp_path / "film.avi")


@pytest.mark.skipif(HAS_VIDEO, reason="the extra is installed")
def test_without_the_extra_it_says_what_to_install(tmp_path):
    with pytest.raises(UserError, match=r"pip install -e"):
        save_mp4(FRAMES, tmp_path / "film.mp4")


@pytest.mark.skipif(not HAS_VIDEO, reason="needs the extra 'video'")
def test_a_film_is_written(tmp_path):
    save_mp4(FRAMES, tmp_path / "film.mp4", fps=4)
    assert (tmp_path / "film.mp4").stat().st_size > 500
