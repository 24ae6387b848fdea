"""The experiment learns, resumes to the same bits, and its errors are one line."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from rl_suite.checkpoint import load_checkpoint, save_checkpoint
from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.distillation import experiment as training
from rl_suite.distillation import look as attention
from rl_suite.distillation.config import FitSection
from rl_suite.distillation.scorecard import score
from rl_suite.distillation.sources.players import make_player
from rl_suite.distillation.worlds import TaskFamily
from rl_suite.errors import NonFiniteError, UserError
from rl_suite.evaluation.evaluate import evaluate_agent
from rl_suite.examples import in_context_bandit
from rl_suite.experiments import EvaluationRequest, load_experiment
from rl_suite.run import Run

BOOTSTRAP = {"resamples": 200, "confidence": 0.95, "seed": 0}


STARTED = []


@pytest.fixture(autouse=True)
def close_runs():
    """Release the run folders that a test left open."""
    yield
    while STARTED:
        STARTED.pop().close()


def start(config):
    STARTED.append(Run.start(config))
    return STARTED[-1]


def config_of(tmp_path, *words, name="darkroom_distillation"):
    return load_experiment(DEFAULT_CONFIG, [f"experiment={name},smoke", f"runs_dir={tmp_path}", *words])


def trained(tmp_path, *words, **kwargs):
    config = config_of(tmp_path, *words, **kwargs)
    run = start(config)
    training.train(config, run)
    run.close()
    return config, Run.open(run.path)


def final_model(run):
    return load_checkpoint(run.checkpoints.for_evaluation())["model"]


def test_a_stopped_run_resumes_to_the_same_bits(tmp_path):
    _, whole = trained(tmp_path / "a")
    config = config_of(tmp_path / "b")
    run = start(config)
    log = run.log

    def stop_after_two(step, values):
        log(step, values)
        run.stop_requested = step >= 2

    run.log = stop_after_two
    training.train(config, run)
    assert Run.open(run.path).status == "stopped"
    run.close()
    resumed = start(config)
    training.train(config, resumed)
    for name, value in final_model(whole).items():
        assert torch.equal(value, final_model(resumed)[name]), name
    steps = [json.loads(line)["step"] for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)


def test_attention_is_followed_during_training(tmp_path):
    _, run = trained(tmp_path)
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    looks = {name: value for line in lines for name, value in line.items() if name.startswith("attention/")}
    assert sum(name.startswith("attention/entropy/layer") for name in looks) == 3 * 4
    assert all(0 < value <= 1 for name, value in looks.items() if name.startswith("attention/entropy/"))


@pytest.mark.parametrize("layout", ["history", "decisions"])
def test_an_agent_learns_to_remember_the_best_arm(tmp_path, layout):
    """Two arms of which one always pays: after one look an agent that learns in context never fails again."""
    positions = "none"
    config = config_of(
        tmp_path,
        "distillation.world={id: rl_suite/BernoulliBandit-v0, options: {arms: 2}}",
        "distillation.source.name=thompson",
        "distillation.source.histories=2048",
        "distillation.source.shard_size=2048",
        "distillation.source.episodes=1",
        "distillation.source.silent=0",
        f"distillation.model={{width: 16, n_layers: 1, n_heads: 2, feedforward: 32, positions: {positions}}}",
        f"distillation.model.layout={layout}",
        "distillation.fit={steps: 150, batch_size: 16, window: 40, from_start: 1.0, permute_actions: true}",
        "distillation.fit.learning_rate=0.01",
        "distillation.fit.warmup=10",
        "distillation.fit.validate_every=1000",
        name="bandit5_distillation",
    )
    run = start(config)
    family = TaskFamily.named(config.distillation.world.id, config.distillation.world.options)
    histories = training.collect_histories(config, family, run)
    model = training.build_model(config, family)
    spec = training.trial_spec(
        config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"n_tasks": 64, "n_envs": 64})}),
        family,
        "test",
        1,
        64,
    )
    before = evaluate_agent(training.make_agent(config, model, 1.0), spec).metrics["cumulative_regret"].mean()
    assert training.fit(config, family, model, histories, run)
    after = evaluate_agent(training.make_agent(config, model, 0.5), spec).metrics["cumulative_regret"].mean()
    assert after < 0.5 * before


def test_the_learning_rate_warms_up_and_falls_to_its_end():
    settings = load_experiment(DEFAULT_CONFIG, ["experiment=darkroom_distillation"]).distillation.fit
    fit = FitSection.model_validate({**settings.model_dump(), "steps": 300, "warmup": 100})
    assert training.learning_rate_factor(0, fit) == pytest.approx(0.01)
    assert training.learning_rate_factor(99, fit) == pytest.approx(1.0)
    assert training.learning_rate_factor(200, fit) == pytest.approx(0.51)  # halfway between 1 and 0.02
    assert training.learning_rate_factor(300, fit) == pytest.approx(0.02)


def test_scores_are_shares_of_the_optimum():
    optimum = np.full((2, 3, 10), 10.0)
    curve = np.tile(np.arange(1.0, 11.0), (2, 3, 1))
    curve[1] -= 1.0
    result = score(curve, optimum, **BOOTSTRAP)
    assert result.episodes == {1: pytest.approx(0.05), 10: pytest.approx(0.95)}
    assert result.late.estimate == pytest.approx(0.90)
    assert result.worst_task == pytest.approx(0.85)
    assert result.area == pytest.approx(0.50)
    assert result.episodes_to_good == 8  # episodes 8, 9, 10 average 0.85


def test_the_source_plays_trials_too():
    config = config_of(Path("unused"), "distillation.source.explorer={memory: 280, noise: 0.0, forget: 0.0}")
    family = TaskFamily.named("rl_suite/DarkRoom-v0", {})
    spec = training.trial_spec(config, family, "test", 14, 8)
    result = evaluate_agent(make_player("source", family, config.distillation.source, 0), spec)
    assert result.curve[:, :, 0].mean() < 8
    far = np.array([abs(task // 9 - 4) + abs(task % 9 - 4) for task in result.tasks])
    assert (result.curve[:, :, -1] == (21 - far)[:, None]).all()
    with pytest.raises(UserError, match="cannot play"):
        make_player("thompson", family, config.distillation.source, 0)


def test_attention_command_writes_all_pictures(tmp_path, capsys):
    _, run = trained(tmp_path)
    assert attention.main([str(run.path), "--samples", "2", "--ablate", "2"]) == 0
    out = capsys.readouterr().out
    for words in (
        "OVERALL ATTENTION STATISTICS",
        "Recent/Distant ratio",
        "Attention alone recommends no strategy (auto would keep k=10",
        "left without a head",
    ):
        assert words in out
    folder = run.path / "figs" / "attention"
    for layer in range(3):
        names = {path.name for path in (folder / f"layer_{layer}").iterdir()}
        assert names == {
            *(f"attention_{kind}_sample{i}_layer{layer}.png" for kind in ("heatmap", "lines") for i in range(2)),
            f"attention_summary_layer{layer}.png",
        }
    for name in ("attention_overview.png", "attention_by_age.png", "attention_in_room.png", "attention.json"):
        assert (folder / name).stat().st_size > 1000
    assert attention.main([str(run.path), "--samples", "1", "--context", "20", "--k", "30"]) == 0
    assert "k=30 is no less than the 19 steps of this context" in capsys.readouterr().out
    assert attention.main([str(run.path), "--layers", "7"]) == 2
    assert "layers 0 to 2" in capsys.readouterr().err
    assert attention.main([str(run.path), "--steps", "1"]) == 2
    assert attention.main([str(run.path), "--tasks", "0"]) == 2


def test_attention_of_decisions(tmp_path):
    """The attention that is read again is the attention with which the agent acted."""
    config, run = trained(tmp_path, name="darkroom_dpt_distillation")
    agent = training.load_agent(config, EvaluationRequest(run=run))
    family, tasks = TaskFamily.named("rl_suite/DarkRoom-v0", {}), np.array([38, 51])
    steps = attention.record(agent, family, tasks, 25, seed=0)
    samples = attention.look(agent, steps, tasks, 25)
    agent.generator.manual_seed(config.evaluation.seed)
    memory, flags = agent.begin(2), np.zeros(2, dtype=bool)
    for t in range(25):
        memory.action = steps.action[:, t - 1] if t else memory.action
        reward = steps.reward[:, t - 1].numpy() if t else np.zeros(2)
        agent.act(memory, steps.observation[:, t].numpy(), reward, flags, flags | (t == 0))
    for i, sample in enumerate(samples):
        np.testing.assert_allclose(sample.query, memory.attention[:, i].numpy(), atol=1e-5)


def test_attention_without_a_run_says_what_to_do(tmp_path, capsys):
    assert attention.main([str(tmp_path)]) == 2
    assert "train first" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["distillation.world.id=rl_suite/NoRoom-v0"], "NoRoom"),
        (["distillation.world.id=CartPole-v1"], "needs a world"),
        (["distillation.fit.window=100"], "does not fit into histories of 80 steps"),
        (["distillation.source.name=ucb"], "for bandits"),
        (["distillation.model.n_heads=5"], "must split into 5 heads"),
    ],
)
def test_bad_settings_are_one_line(tmp_path, words, message):
    config = config_of(tmp_path, *words)
    with pytest.raises(UserError, match=message):
        training.train(config, start(config))


def test_histories_of_another_world_are_refused(tmp_path):
    config, run = trained(tmp_path)
    other = config_of(tmp_path, "distillation.source.explorer.noise=0.2")
    family = TaskFamily.named("rl_suite/DarkRoom-v0", {})
    with pytest.raises(UserError, match="another recipe"):
        training.collect_histories(other, family, run)
    hard = config_of(tmp_path, "distillation.world.id=rl_suite/DarkRoomHard-v0")
    with pytest.raises(UserError, match="does not fit rl_suite/DarkRoomHard-v0"):
        training.load_agent(hard, EvaluationRequest(run=run))
    with pytest.raises(UserError, match="no checkpoint yet; train first"):
        training.load_agent(config, EvaluationRequest(run=Run(tmp_path / "nothing")))


def test_what_is_not_finite_is_named(tmp_path):
    config, run = trained(tmp_path)
    path = run.checkpoints.for_evaluation()
    content = load_checkpoint(path)
    content["model"]["head.weight"][0, 0] = torch.nan
    save_checkpoint(path, content)
    with pytest.raises(UserError, match=r"head\.weight holds NaN or infinity; train again"):
        training.load_agent(config, EvaluationRequest(run=run))
    wild = config_of(tmp_path / "wild", "distillation.fit.learning_rate=1e30", "distillation.fit.warmup=0")
    with pytest.raises(NonFiniteError, match=r"step \d: loss nan.*lower distillation.fit.learning_rate"):
        training.train(wild, start(wild))


def test_a_longer_memory_than_trained_is_said(tmp_path, capsys):
    config, run = trained(tmp_path)
    longer = config_of(tmp_path, "distillation.acting.window=90")
    assert training.load_agent(longer, EvaluationRequest(run=run)).window == 90
    assert "never practised" in capsys.readouterr().out
    del config


def test_the_example_learns_in_context(capsys):
    in_context_bandit.main()
    out = capsys.readouterr().out
    untrained, trained = (float(line.split()[-1]) for line in out.splitlines()[:2])
    assert trained < 0.3 * untrained
    assert "auto" in out


@pytest.mark.slow
def test_darkroom_is_learned_in_context(tmp_path):
    """The default experiment reaches 0.95 of the optimum on the held-out goals."""
    words = ["experiment=darkroom_distillation", f"runs_dir={tmp_path}"]
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "train.py", *words], cwd=root, check=True, capture_output=True)
    agents = json.loads((tmp_path / "darkroom_distillation/0/evaluation.json").read_text())["agents"]
    ours, best = (np.array(agents[name]["curve_per_trial"]) for name in ("in-context", "oracle"))
    assert ours[:, :, -10:].mean() >= 0.95 * best.mean()
