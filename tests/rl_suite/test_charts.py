"""TensorBoard begins with the charts that matter: every kind has some, and a run's own tags fill them."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.plugins.custom_scalar import layout_pb2

from rl_suite.charts import CHARTS, COMPARED, describe, pictures_of
from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.experiments import KINDS, load_experiment
from rl_suite.job import run_job
from rl_suite.logs import Events, RunLog
from rl_suite.run import Run


def test_kinds_have_charts_and_numbers_to_compare():
    assert set(CHARTS) == set(COMPARED) <= set(KINDS)
    assert all(1 < len(layout["overview"]) <= 5 for layout in CHARTS.values())


@pytest.mark.parametrize("kind", sorted(CHARTS))
def test_what_hparams_shows_is_in_a_chart(kind):
    shown = [pattern for chart in CHARTS[kind]["overview"].values() for pattern in chart[1]]
    for tag in COMPARED[kind]:
        assert any(re.fullmatch(pattern, tag) for pattern in shown), tag


def written(folder: Path):
    """Tag -> plugin data of every summary in the folder."""
    found = {}
    for path in folder.glob("events.*"):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                found[value.tag] = value
    return found


def test_layout_and_settings_reach_the_event_file(tmp_path):
    writer = Events(tmp_path, None)
    describe(writer, "meta_learning", {"loop": {"steps": 3}, "seed": 0, "name": None, "rates": list(range(50))})
    writer.close()
    found = written(tmp_path)
    layout = layout_pb2.Layout.FromString(found["custom_scalars__config__"].tensor.string_val[0])
    assert [chart.title for chart in layout.category[0].chart] == list(CHARTS["meta_learning"]["overview"])
    assert b"loop.steps" in found["_hparams_/session_start_info"].metadata.plugin_data.content
    assert b"rates" not in found["_hparams_/session_start_info"].metadata.plugin_data.content


def test_a_kind_of_somebody_else_gets_none(tmp_path):
    writer = Events(tmp_path, None)
    describe(writer, "mine", {})
    writer.close()
    assert written(tmp_path) == {}


def test_pictures_of_a_folder_are_its_own_and_no_links(tmp_path):
    (tmp_path / "run" / "figs").mkdir(parents=True)
    Image.fromarray(np.full((3, 5), 7, np.uint8)).save(tmp_path / "run" / "figs" / "map.png")
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / "elsewhere.png")
    (tmp_path / "run" / "link.png").symlink_to(tmp_path / "elsewhere.png")
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / "run" / "projector_sprite.png")
    (tmp_path / "run" / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    ((name, pixels),) = pictures_of(tmp_path / "run")
    assert name == "figs/map"
    assert pixels.shape == (3, 5, 3)
    assert (pixels == 7).all()


def images(folder: Path):
    """Tag -> steps of the pictures that TensorBoard shows of a run."""
    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [event.step for event in events.Images(tag)] for tag in events.Tags()["images"]}


@pytest.mark.parametrize(
    ("experiment", "tag", "steps"),
    [("sinusoid_maml", "glimpse/fits", [2, 4]), ("darkroom", "glimpse/episode", [256, 512])],
)
def test_pictures_come_while_a_run_goes_on_and_a_kill_at_its_end_loses_none(
    experiment, tag, steps, tmp_path, monkeypatch
):
    config = load_experiment(DEFAULT_CONFIG, [f"experiment={experiment},smoke", f"runs_dir={tmp_path}"])
    folder = Run.place(config)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("rl_suite.job.keep_for_page", killed)  # what comes after the run has ended
        with pytest.raises(KeyboardInterrupt):
            run_job(config)
    found = images(folder)
    assert found[tag] == steps
    at_the_end = {path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.png")}
    assert at_the_end == set(found) - {each for each in found if each.startswith("glimpse/")}
    assert run_job(config)  # the report is written now
    assert images(folder) == found


def test_pictures_at_the_end_of_a_run_make_tensorboard_forget_nothing(tmp_path):
    log = RunLog(tmp_path)
    log.rewind(0, {})
    for step in (1, 3, 4):
        log.write(step, {"train/loss": 0.5})
        log.writer.add_scalar("train/loss", 0.5, step)
    log.close()
    log.writer.add_image("figs/map", np.zeros((2, 2, 3), np.uint8), log.last_step(), dataformats="HWC")
    log.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [1, 3, 4]
    assert [event.step for event in events.Images("figs/map")] == [4]
