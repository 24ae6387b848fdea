"""TensorBoard's projector finds points, labels and pictures in the run folder."""

from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from PIL import Image
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

from rl_suite.viz.projector import CONFIG, write_projector


def test_points_labels_and_pictures_are_what_was_given(tmp_path: Path) -> None:
    features = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    pictures = np.stack([np.full((2, 4), shade, np.uint8) for shade in (10, 20, 30)])
    write_projector(tmp_path, "three points", features, {"class": ["a", "b\tc\nd", "e"], "step": [0, 1, 2]}, pictures)
    config = ProjectorConfig()
    text_format.Parse((tmp_path / CONFIG).read_text(), config)
    (points,) = config.embeddings
    assert points.tensor_name == "three points"
    np.testing.assert_array_equal(np.loadtxt(tmp_path / points.tensor_path), features)
    lines = (tmp_path / points.metadata_path).read_text().splitlines()
    assert lines == ["class\tstep", "a\t0", "b c d\t1", "e\t2"]  # a name cannot break the table
    assert list(points.sprite.single_image_dim) == [4, 2]
    sheet = np.asarray(Image.open(tmp_path / points.sprite.image_path))
    assert sheet.shape == (4, 8)
    assert sheet[0, 4] == 20
    assert sheet[2, 0] == 30


def test_one_column_has_no_heading_and_a_sheet_that_is_too_large_is_left_out(tmp_path: Path) -> None:
    write_projector(tmp_path, "many", np.zeros((2, 3)), {"class": ["a", "b"]}, np.zeros((2, 5000, 5000), np.uint8))
    assert (tmp_path / "projector_labels.tsv").read_text() == "a\nb\n"
    assert "sprite" not in (tmp_path / CONFIG).read_text()


@pytest.mark.parametrize(("features", "labels"), [([[np.nan]], ["a"]), ([[1.0]], ["a", "b"])])
def test_nonsense_is_refused(tmp_path: Path, features: list[list[float]], labels: list[str]) -> None:
    with pytest.raises(ValueError, match="finite features and a label for each"):
        write_projector(tmp_path, "x", np.array(features), {"class": labels})
    assert not list(tmp_path.iterdir())
