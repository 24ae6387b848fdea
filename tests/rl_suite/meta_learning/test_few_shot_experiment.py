import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from picture_toys import omniglot_zip, png

from rl_suite.checkpoint import load_checkpoint
from rl_suite.errors import UserError
from rl_suite.experiments import EvaluationRequest, load_experiment
from rl_suite.meta_learning import EpisodeSource, load_few_shot_learner, load_omniglot
from rl_suite.meta_learning.experiment import build_session, evaluate, train
from rl_suite.meta_learning.learners.few_shot_evaluation import JitteredCopies, accuracies, encode
from rl_suite.meta_learning.problems.few_shot import FewShotSession
from rl_suite.meta_learning.problems.few_shot_pictures import principal_components
from rl_suite.run import Run

CONFIG = Path(__file__).resolve().parents[3] / "config.yaml"
SMALL = ["meta_learning.loop.steps=6", "meta_learning.pictures.k_query=1"]


def configure(folder, *words):
    return load_experiment(CONFIG, ["experiment=omniglot_prototypical,smoke", f"runs_dir={folder}", *SMALL, *words])


def one_shot_runs(folder, omniglot):
    """Runs in the official format: the first drawing of each character, then the second."""
    images = 255 - omniglot.test.images.reshape(-1, 3, 28, 28).numpy()
    run = folder / "all_runs" / "run01"
    (run / "training").mkdir(parents=True)
    (run / "test").mkdir()
    lines = []
    for i, character in enumerate(images):
        (run / "training" / f"class{i:02d}.png").write_bytes(png(character[0]))
        (run / "test" / f"item{i:02d}.png").write_bytes(png(character[1]))
        lines.append(f"run01/test/item{i:02d}.png run01/training/class{i:02d}.png")
    (run / "class_labels.txt").write_text("\n".join(lines))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    omniglot_zip(folder / "images_background_small1.zip", {"Greek": 6, "Korean": 6})
    omniglot_zip(folder / "images_background_small2.zip", {"Greek": 6, "Tagalog": 20, "Sanskrit": 6})
    one_shot_runs(folder, load_omniglot(folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RL_SUITE_DATA", str(folder))
        yield folder


@pytest.fixture(scope="module")
def run_path(data, tmp_path_factory):
    config = configure(tmp_path_factory.mktemp("runs"))
    with Run.start(config) as run:
        train(config, run)
    return run.path


def test_every_table_has_its_baselines_and_controls(run_path):
    content = json.loads((run_path / "evaluation.json").read_text())
    tables = {name: rows for name, rows in content.items() if name not in ("title", "settings")}
    assert set(tables) == {
        "5-way 1-shot",
        "5-way 1-shot, within one group",
        "20-way 1-shot",
        "20-way 1-shot, one query each, within one group",
        "official one-shot runs",
    }
    for name, rows in tables.items():
        assert next(iter(rows)) == "trained"
        assert {"nearest centroid on pixels", "untrained encoder"} <= set(rows)
        for row in rows.values():
            assert 0 <= row["mean"]["estimate"] <= 1
            assert len(row["values"]) == row["n"] == (1 if name.startswith("official") else 8)
    controls = {"fine-tuning: linear head on its features", "trained, support labels shuffled"}
    assert controls <= set(tables["5-way 1-shot"])
    assert [row for row in tables["official one-shot runs"] if "assigned jointly" in row] == [
        "trained, all queries of a run assigned jointly (uses the design of the test)"
    ]
    assert content["settings"]["training_steps"] in (2, 4, 6)
    assert (run_path / "episodes.png").stat().st_size > 5000
    assert (run_path / "map.png").stat().st_size > 5000
    features, labels = (
        (run_path / f"projector_{name}.tsv").read_text().splitlines() for name in ("features", "labels")
    )
    assert len(features) == len(labels) - 1 > 20


def test_a_run_that_was_stopped_goes_on_with_the_same_bits(run_path, tmp_path):
    config = configure(tmp_path)
    with Run.start(config) as run, pytest.MonkeyPatch.context() as patch:
        patch.setattr(FewShotSession, "step", stop_at(run, 3, FewShotSession.step))
        train(config, run)
    assert run.status == "stopped"
    with Run.start(config) as run:
        train(config, run)
    assert run.status == "complete"
    finals = [load_checkpoint(sorted((path / "checkpoints").glob("step_*"))[-1]) for path in (run_path, run.path)]
    for a, b in zip(*(tensors(final["session"]) for final in finals), strict=True):
        assert torch.equal(a, b)


def test_a_run_is_measured_again_with_other_settings(run_path):
    config = configure(run_path.parents[1], "meta_learning.loop.test_tasks=3", "meta_learning.few_shot.test_copies=0")
    report = evaluate(config, EvaluationRequest(run=Run.open(run_path)))
    assert report.results["5-way 1-shot"]["trained"].n == 3
    assert not any("copies" in row for row in report.results["5-way 1-shot"])
    assert len(report.tables()) == 5


def test_looking_features_up_is_the_same_as_encoding_episodes(data):
    session = build_session(configure(data))
    source = EpisodeSource(load_omniglot().test, 5, 1, 2, seed=0)
    looked_up = accuracies(session.learner.require_head(), encode(session.learner, source.data.images), source, 12)
    assert np.allclose(looked_up.values, session.learner.evaluate(source, 12).values)


def test_the_jitter_of_a_picture_does_not_depend_on_its_neighbours(data):
    session = build_session(configure(data))
    around = JitteredCopies(session.episodes.train.jitter, 2)
    images = session.episodes.test.data.images[:5]
    together = encode(session.learner, images, around)
    assert torch.allclose(encode(session.learner, images[:2], around), together[:2], atol=1e-5)
    assert not torch.allclose(encode(session.learner, images), together, atol=1e-3)


def test_a_trained_learner_for_your_own_pictures(run_path):
    learner = load_few_shot_learner(run_path)
    test = load_omniglot(size=105).test
    pictures = (255 - test.images[:, 0]).numpy()  # black on white, as drawn
    support, query = pictures[0:15:3], pictures[1:15:3]
    found = learner.predict(support, ["a", "b", "c", "d", "e"], query)
    assert set(found) <= set("abcde")
    assert learner.predict(255 - support, ["a", "b", "c", "d", "e"], 255 - query) == found
    floats = learner.predict(support / 255, ["a", "b", "c", "d", "e"], query / 255)
    assert floats == found
    in_colour = np.repeat(support[..., None], 3, axis=-1)
    assert learner.predict(in_colour, ["a", "b", "c", "d", "e"], query) == found
    assert learner.predict(in_colour, ["a", "b", "c", "d", "e"], in_colour[0]) == "a"
    order = [3, 0, 4, 1, 2]
    assert learner.predict(support[order], [list("abcde")[i] for i in order], query) == found
    assert learner.predict(support, np.arange(5), query[0]) in range(5)
    assert sorted(learner.predict(support, list("abcde"), query, transductive="assignment")) == list("abcde")


def test_pictures_that_cannot_be_judged(run_path):
    learner = load_few_shot_learner(run_path)
    two = np.zeros((2, 30, 20))
    with pytest.raises(UserError, match="holds NaN"):
        learner.predict(two * np.nan, [0, 1], two)
    with pytest.raises(UserError, match="mixed sizes"):
        learner.predict([np.zeros((4, 4)), np.zeros((5, 4))], [0, 1], two)
    with pytest.raises(UserError, match="bytes, or floats in"):
        learner.predict(two + 7, [0, 1], two)
    with pytest.raises(UserError, match="only one class"):
        learner.predict(two, [1, 1], two)
    with pytest.raises(UserError, match="1 or 3 channels"):
        learner.predict(np.zeros((2, 4, 9, 9)), [0, 1], two)


def test_folders_that_hold_no_such_learner(tmp_path, run_path):
    with pytest.raises(UserError, match="not a run folder"):
        load_few_shot_learner(tmp_path)
    (tmp_path / "config.yaml").write_text("kind: sb3\n")
    with pytest.raises(UserError, match="kind 'sb3'"):
        load_few_shot_learner(tmp_path)
    (tmp_path / "config.yaml").write_text((run_path / "config.yaml").read_text())
    with pytest.raises(UserError, match="no checkpoint yet"):
        load_few_shot_learner(tmp_path)
    text = (run_path / "config.yaml").read_text()
    (tmp_path / "config.yaml").write_text(re.sub(r"(widths:\n +- )\d+", r"\g<1>1000000000", text))
    with pytest.raises(UserError, match=r"widths\.0: input should be less than or equal to 1024"):
        load_few_shot_learner(tmp_path)
    (tmp_path / "config.yaml").write_text(text)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "best.ckpt").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(UserError, match="not a checkpoint"):
        load_few_shot_learner(tmp_path)


def test_principal_components_by_hand():
    places, share = principal_components(torch.tensor([[2.0, 0, 0], [-2, 0, 0], [0, 1, 0], [0, -1, 0]]))
    assert np.abs(places) == pytest.approx(np.array([[2, 0], [2, 0], [0, 1], [0, 1]]))
    assert share == pytest.approx(1.0)


def stop_at(run, step, original):
    def stepping(session, number):
        run.stop_requested = run.stop_requested or number + 1 == step
        return original(session, number)

    return stepping


def tensors(state):
    if isinstance(state, torch.Tensor):
        yield state
    elif isinstance(state, dict):
        for key in sorted(state, key=str):
            yield from tensors(state[key])
    elif isinstance(state, list | tuple):
        for value in state:
            yield from tensors(value)
