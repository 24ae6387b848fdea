"""What cannot be built, play, be measured or fit into memory is said before the first step, for every kind."""

import subprocess
import sys
from pathlib import Path

import pytest

from rl_suite import memory
from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.config import ExperimentConfig
from rl_suite.errors import NothingFoundError, UserError
from rl_suite.experiments import KINDS, load_attribute, load_experiment
from rl_suite.rehearsal import changed, rehearse, rehearsed
from rl_suite.run import Run

pytestmark = pytest.mark.rehearsed
ROOMS, HARD, BANDITS = "darkroom_distillation", "darkroom_hard_distillation", "bandit5_distillation"
WSA = "durotaxis_wsa"
HUGE = ["evaluation.n_tasks=1000000", "evaluation.episodes_per_task=100000"]
LATE = [
    # baselines
    (ROOMS, ["distillation.trials.baselines=[ucb1]"], "'ucb1' cannot play"),
    (ROOMS, ["distillation.trials.baselines=[source, thompson]"], "'thompson' cannot play"),
    (ROOMS, ["distillation.source.name=noisy_expert"], "leave 'source' out of baselines"),
    (ROOMS, ["distillation.source.name=ppo", "distillation.source.silent=0"], "leave 'source' out of baselines"),
    # sources and their plans
    (HARD, ["distillation.source.sweeper.episode_steps=2"], "too short to see all of a 17x17 room"),
    (HARD, ["distillation.source.sweeper.episode_steps=50"], "episodes have 20 steps"),
    ("key_to_door_distillation", ["distillation.source.name=sweeper"], "all start on the same cell"),
    (ROOMS, ["distillation.source.name=thompson"], "is for bandits"),
    (BANDITS, ["distillation.source.name=explorer"], "know dark rooms .*, not BernoulliBandit$"),
    (ROOMS, ["distillation.world={id: rl_suite/ToolUse-v0, options: {}}"], "know dark rooms .*, not ToolUse$"),
    # worlds of validation and test
    (ROOMS, ["distillation.world.options={split: test}"], "options.split"),
    ("darkroom", ["env.validation_kwargs.split=tset"], "split must be"),
    ("darkroom", ["env.test_kwargs.split=tset"], "split must be"),
    ("durotaxis", ["env.test_kwargs.substrate=flat"], "choose another substrate than flat"),
    ("durotaxis", ["evaluation.n_tasks=1", "evaluation.episodes_per_task=1"], "at least two episodes"),
    ("darkroom", ["evaluation.n_tasks=9"], "this world has 8 held-out tasks"),
    (ROOMS, ["evaluation.n_tasks=9"], "this world has 8 held-out tasks"),
    # callbacks
    (WSA, ["env.info_keys=[]", "policy.kwargs.ptms=[{model_type: graph_cnn}]"], "add reward_delete"),
    (WSA, ["env.info_keys=[reward_delete, reward_distance, reward_termination, x]"], "x"),
    # models and optimisers
    (ROOMS, ["distillation.model.n_heads=5"], "must split into 5 heads"),
    (ROOMS, ["distillation.fit.window=100"], "does not fit into histories of 80 steps"),
    ("omniglot_maml", ["meta_learning.pictures={data: glyphs, n_way: 5000}"], "n_way"),
    ("symbolic_search", ["skeleton=nothing(?)"], "nothing"),
    ("meta_bandit", ["meta_rl.world.kwargs={colour: 1}"], "colour"),
    # memory
    ("meta_bandit", ["meta_rl.maml.query_episodes=100000000000"], "episodes of one outer step needs .* GB"),
    ("meta_bandit", ["meta_rl.loop.test_episodes=100000000000"], "episodes of one look needs .* GB"),
    (ROOMS, ["distillation.source.histories=1000000000"], "collecting its histories needs .* GB"),
    (ROOMS, ["distillation.source.episodes=1000000000"], "collecting its histories needs .* GB"),
    (ROOMS, ["distillation.fit.batch_size=100000000"], "one training step needs .* GB"),
    (ROOMS, ["distillation.model.width=10000000"], "one training step needs .* GB"),
    (ROOMS, ["distillation.acting.window=10000000000"], "agents remember needs .* GB"),
    (ROOMS, ["distillation.trials.episodes=100000000000000"], "the returns of all episodes needs .* GB"),
    (BANDITS, HUGE, "episodes of the evaluation needs .* GB"),
    ("bandit_ppo", HUGE, "episodes of the evaluation needs .* GB"),
    ("sinusoid_maml", ["meta_learning.sinusoid.shots=1000000000000"], "the points of one outer step needs .* GB"),
    ("omniglot_maml", ["meta_learning.loop.tasks_per_step=10000000000"], "episodes of one outer step needs .* GB"),
    ("omniglot_maml", ["meta_learning.pictures.k_query=10000000000"], "one episode of the evaluation needs .* GB"),
    ("omniglot_maml", ["meta_learning.gradient.width=10000000"], "the network's layers needs .* GB"),
    ("continual_digits", ["meta_learning.continual.hidden=[1000000, 10000000]"], "the network's layers needs .* GB"),
    ("symbolic_search", ["search.population=100000000000"], "its programs needs .* GB"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_rehearsed(kind: str) -> None:
    assert hasattr(load_attribute(KINDS[kind].train), "__wrapped__"), "decorate it with rl_suite.rehearsal.rehearsed"


@pytest.mark.parametrize(("experiment", "words", "message"), LATE, ids=lambda value: str(value)[:60])
def test_what_would_fail_late_fails_before_anything_is_done(
    experiment: str, words: list[str], message: str, tmp_path: Path
) -> None:
    config = load_experiment(DEFAULT_CONFIG, [f"experiment={experiment},smoke", f"runs_dir={tmp_path}", *words])
    with Run.start(config) as run, pytest.raises(UserError, match=message):
        load_attribute(KINDS[config.kind].train)(config, run)
    assert {path.name for path in run.path.iterdir()} <= {"config.yaml", "config.hmac", "run.json", ".lock"}


def test_the_command_says_it_in_one_line(tmp_path: Path) -> None:
    words = [f"experiment={ROOMS},smoke", "distillation.trials.baselines=[ucb1]", f"runs_dir={tmp_path}"]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "train.py", *words], cwd=root, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 2
    *waited, last = done.stderr.splitlines()
    assert last == "error: baseline 'ucb1' cannot play rl_suite/DarkRoom-v0"
    assert all(line.endswith(" ...") for line in waited)  # on a slow machine


def config_in(folder: Path) -> ExperimentConfig:
    return load_experiment(DEFAULT_CONFIG, ["experiment=sinusoid_maml,smoke", f"runs_dir={folder}"])


def test_a_rehearsal_is_silent_and_leaves_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    played: list[Path] = []

    @rehearsed(lambda config: changed(config, {"meta_learning.loop.steps": 1}))
    def train(config: ExperimentConfig, run: Run) -> None:
        print(config.experiment)
        played.append(run.path)
        run.log(1, {"train/loss": 0.0})

    with Run.start(config_in(tmp_path)) as run:
        train(run_config := config_in(tmp_path), run)
    scratch, real = played
    assert real == run.path
    assert not scratch.exists()
    assert capfd.readouterr().out == f"{run_config.experiment}\n"


@pytest.mark.parametrize("error", [ValueError("b <= 0"), KeyError("x"), RuntimeError("shapes"), AssertionError("no")])
def test_a_traceback_becomes_one_line(error: Exception, tmp_path: Path) -> None:
    def train(config: ExperimentConfig, run: Run) -> None:
        raise error

    with pytest.raises(UserError, match="sinusoid_maml,smoke cannot be run with these settings: ") as caught:
        rehearse(train, config_in(tmp_path))
    assert caught.value.__cause__ is error


def test_a_search_that_was_cut_short_is_no_failure(tmp_path: Path) -> None:
    def train(config: ExperimentConfig, run: Run) -> None:
        raise NothingFoundError("no law yet")

    rehearse(train, config_in(tmp_path))


def test_settings_are_changed_at_any_depth(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    other = changed(config, {"meta_learning.loop.steps": 7, "meta_learning.loop.warmup": 3, "seed": 5})
    assert (other.meta_learning.loop.steps, other.meta_learning.loop.warmup, other.seed) == (7, 3, 5)
    assert config.meta_learning.loop.steps != 7
    assert other.meta_learning.loop.outer_lr == config.meta_learning.loop.outer_lr


@pytest.mark.parametrize("experiment", [ROOMS, BANDITS, "sinusoid_maml", "omniglot_maml", "continual_digits"])
def test_what_fits_is_not_refused(experiment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped experiments say that they take less than two gigabytes, as they do."""
    monkeypatch.setattr(memory, "available_bytes", lambda: 2 * 10**9)
    config = load_experiment(DEFAULT_CONFIG, [f"experiment={experiment}"])
    load_attribute(f"rl_suite.{config.kind}.sizes:shrink")(config)
