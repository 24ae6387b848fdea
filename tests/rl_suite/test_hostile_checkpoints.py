"""A checkpoint from a stranger: whatever is changed in it is refused in a line, or training goes on."""

import copy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from rl_suite.checkpoint import load_checkpoint, save_checkpoint
from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.experiments import load_experiment
from rl_suite.sb3.build import build_env, build_model
from rl_suite.sb3.snapshot import restore, snapshot
from rl_suite.symbolic.data import Data, Options
from rl_suite.symbolic.search import Search

ROOT = DEFAULT_CONFIG.parent
TINY = ["train.total_timesteps=64", "env.n_envs=2"]
SMALL = [*TINY, "ppo.n_steps=8", "ppo.batch_size=16", "ppo.n_epochs=1"]
RUNS = {
    "ppo": ["experiment=darkroom,smoke", *SMALL, "normalize.reward=true"],
    "dqn": ["experiment=darkroom,smoke", *TINY, "algorithm=dqn", "dqn.learning_starts=8", "dqn.buffer_size=64"],
    "recurrent": [
        "experiment=darkroom,smoke", *SMALL, "algorithm=recurrent_ppo", "policy.name=MlpLstmPolicy", "policy.kwargs={}",
    ],
}  # fmt: skip
REFUSED = (KeyError, TypeError, ValueError, RuntimeError, AttributeError)  # what ``resume`` makes a line of
SKIPPED = {"parameters", "random", "exploration"}  # torch and numpy check what they load themselves


def leaves(value, path=()):
    """Paths of all leaves of nested dictionaries and lists."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list | tuple) and value:
        yield from leaves(value[0], (*path, 0))
    else:
        yield path


def put(content, path, value):
    for key in path[:-1]:
        content = content[key]
    content[path[-1]] = value


def at(content, path):
    for key in path:
        content = content[key]
    return content


def extremes(value):
    """What a stranger could put in the place of a leaf, of its type and of others."""
    changed = [None, "text", [], {"a": 1}, 10**400, float("nan")]
    if isinstance(value, torch.Tensor):
        value = value.numpy()
        changed.append(torch.full((3, 3), torch.nan))
    if isinstance(value, np.ndarray):
        kind = value.dtype.kind
        most = [np.iinfo(value.dtype).max, np.iinfo(value.dtype).min] if kind in "iu" else [True, False]
        most = [np.nan, np.inf, np.finfo(value.dtype).max] if kind == "f" else most
        changed += [np.full_like(value, number) for number in most]
        changed += [value.ravel()[:0], value[..., None], value.astype(str), value.astype(np.float16)]
    return changed


def model_of(words):
    config = load_experiment(DEFAULT_CONFIG, words)
    return build_model(config, build_env(config, config.env.train_kwargs, config.env.n_envs))


@pytest.mark.filterwarnings("ignore:.*(overflow|invalid|divide|mini-batch).*")
@pytest.mark.parametrize("name", RUNS)
def test_a_changed_snapshot_is_refused_or_trained_on(name):
    torch.set_num_threads(1)
    model = model_of(RUNS[name]).learn(32)
    kept, target, refused = copy.deepcopy(snapshot(model)), model_of(RUNS[name]), 0
    for path in [path for path in leaves(kept) if path[0] not in SKIPPED]:
        for value in extremes(at(kept, path)):
            content = copy.deepcopy(kept)
            put(content, path, value)
            try:
                restore(target, content)
            except REFUSED:
                refused += 1
                continue
            target._last_obs = content["last"]["_last_obs"]
            target.env.step(np.zeros((2, *target.action_space.shape), np.int64))
    assert refused > 100
    restore(target, kept)
    target.learn(16, reset_num_timesteps=False)


@pytest.mark.filterwarnings("ignore:.*(overflow|invalid|divide).*:RuntimeWarning")
@pytest.mark.parametrize("part", ["islands", "archive", "seen", "slots"])
def test_a_changed_search_is_refused_or_goes_on(part, small_search):
    search = small_search()
    for _ in range(2):
        search.step()
    kept, refused, target = search.state(), 0, small_search()
    for path in [path for path in leaves(kept) if path[0] == part]:
        for value in extremes(at(kept, path)):
            content = copy.deepcopy(kept)
            put(content, path, value)
            try:
                target.restore(content)
            except REFUSED:
                refused += 1
            else:
                target.step()
                target = small_search()
    assert refused > 5


@pytest.fixture
def small_search():
    rng = np.random.default_rng(0)
    x = rng.uniform(1, 3, (60, 2))
    y = np.exp(-x[:, 0]) * np.sin(x[:, 1]) + 0.05 * rng.standard_normal(60)
    return lambda: Search(Data(x, y, ("a", "b")), Options(population=40, search_points=40), 0, 10**6)


def test_the_command_ends_with_a_line_and_exit_code_2(tmp_path: Path) -> None:
    words = [sys.executable, "train.py", *RUNS["dqn"], "train.checkpoint_every=16", f"runs_dir={tmp_path}", "name=mine"]
    first = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr
    (run,) = {path.parent.parent for path in tmp_path.rglob("*.ckpt")}
    for path in (run / "checkpoints").glob("*.ckpt"):
        content = load_checkpoint(path)
        content["sb3"]["replay"]["pos"] = 10**6
        save_checkpoint(path, content)
    record = run / "run.json"
    record.write_text(record.read_text().replace('"complete"', '"running"'))
    again = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert again.returncode == 2, again.stderr
    assert "does not fit" in again.stderr
    assert "Traceback" not in again.stderr
