import io
import json
import math

import gymnasium as gym
import numpy as np
import pytest
from rich.console import Console

from agents.durotaxis_baselines import BiasedRandom, UpGradient, treadmill
from rl_suite.errors import UserError
from rl_suite.evaluation.baselines import make_baseline
from rl_suite.evaluation.controls import FIELDS, MEASURES, WORLD, ControlReport, control_options, evaluate_controls
from rl_suite.evaluation.evaluate import EvaluationSpec

RATIO = {"action_mode": "delete_ratio"}
SPACE = gym.make(WORLD, **RATIO).action_space


def spec(episodes=24, **options):
    return EvaluationSpec(WORLD, {**RATIO, **options}, n_tasks=episodes, episodes_per_task=1, n_envs=24, resamples=300)


def test_an_agent_that_looks_has_nothing_against_it():
    done = []
    report = evaluate_controls(UpGradient(SPACE), spec(), "scripted", done.append)
    assert report.flags() == []
    assert done[-1] == 24 * len(FIELDS)
    assert done == sorted(done)
    gain = report.difference("gradient", "flat", "durotactic_index")
    assert 0.8 < gain.low <= gain.estimate <= gain.high <= 1.2
    assert report.interval("flat", "durotactic_index").low < 0 < report.interval("flat", "durotactic_index").high
    for field in ("reversed", "rotated"):
        values, own = report.values[field], report.values["gradient"]
        np.testing.assert_allclose(values["forward_migration_index"], own["forward_migration_index"], atol=0.05)
    rows = report.rows()
    assert len(rows) == len(FIELDS) * len(MEASURES)
    assert {row.minus_flat.estimate for row in rows if row.field == "flat"} == {0.0}


def test_a_policy_that_wins_on_flat_ground_is_flagged():
    """It was brought up where the goal is always to the right, and walks there on any ground."""
    report = evaluate_controls(treadmill(SPACE, 0.0), spec(direction=0.0), "marcher")
    flags = "\n".join(report.flags())
    assert report.interval("flat", "is_success").low > 0.8
    assert "wins on flat ground" in flags
    assert "where a blind walk wins 11.7%" in flags
    assert "prefers a direction: success falls by 100.0% on the reversed field" in flags
    assert "on the rotated field" in flags
    assert "no durotaxis shown" in flags


def test_luck_is_no_durotaxis():
    flags = evaluate_controls(BiasedRandom(SPACE, spread=0.3), spec(), "blind").flags()
    assert len(flags) == 1
    assert flags[0].startswith("no durotaxis shown")


def test_fields_keep_everything_but_the_ground():
    options = control_options({"gradient": 0.04, "angle": 10.0, "curriculum": [{"gradient": 0.01}]})
    assert tuple(options) == FIELDS
    assert options["flat"] == {"gradient": 0.04, "angle": 10.0, "substrate": "flat"}
    assert options["reversed"]["angle"] == 190.0
    assert options["rotated"]["angle"] == 100.0
    assert control_options({"substrate": "rotated"})["reversed"] == {"substrate": "rotated", "angle": 270.0}
    hill = 5 + np.linspace(0, 6, 361)[:, None] + np.zeros((361, 361))  # rises downwards
    measured = control_options({"substrate": "image", "image": hill, "direction": "measured"})
    assert "image" not in measured["flat"]
    assert measured["flat"]["direction"] == pytest.approx(-90.0)
    assert measured["rotated"]["image"] is hill
    for world in measured.values():
        gym.make(WORLD, **world)


def test_reports_can_be_printed_and_stored():
    values = {
        field: {measure: np.array([0.5, 1.0, 0.0]) * (field != "flat") for measure in MEASURES} for field in FIELDS
    }
    report = ControlReport("probe", values, 0.1, 200, 0.95, 0)
    table = report.table()
    assert table.row_count == len(FIELDS)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table)
    text = console.export_text()
    assert text.count("0.50 [0.00, 1.00]") == 6 * (len(FIELDS) - 1)  # value and excess, on lines of their own
    assert "+0.50 [0.00, 1.00]" in text
    assert text.count(" - flat ") == len(FIELDS) - 1  # said in words: a pipe has no italics
    stored = json.loads(json.dumps(report.as_json(), allow_nan=False))
    assert stored["episodes"]["gradient"]["is_success"] == [0.5, 1.0, 0.0]
    row = stored["rows"][0]
    assert (row["field"], row["measure"], row["value"]["estimate"]) == ("gradient", "durotactic_index", 0.5)
    assert row["minus_flat"] == row["value"]


def test_who_steers_slowly_is_not_called_blind():
    """Short reaches: every step is up, on every field, and no goal comes near."""
    report = evaluate_controls(UpGradient(SPACE), spec(gamma=0.7), "slow")
    flags = report.flags()
    assert report.interval("gradient", "durotactic_index").low > 0.5
    assert [flag.partition(":")[0] for flag in flags] == ["goal not reached in the time"]


def test_blind_persistent_walkers_have_an_index_of_zero_on_flat_ground():
    """Rules of the task end their walks after runs of steps down; an assay does not ask where they went."""
    agent = PersistentWalkers(SPACE)
    index = evaluate_controls(agent, spec(400), "walkers").interval("flat", "durotactic_index")
    assert index.low < 0 < index.high
    assert index.high - index.low < 0.3


class PersistentWalkers(BiasedRandom):
    """Each colony walks along a direction of its own that turns slowly."""

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        batch = len(observation["graph"])
        angles = self._rng.uniform(0, 2 * np.pi, batch)
        if state is not None:
            turned = state[0] + self._rng.normal(0, 0.15, batch)
            angles = np.where(episode_start, angles, turned)
        return self.actions.of_ratio(np.full(batch, 0.5), angles), (angles,)


def test_what_cannot_be_controlled_is_refused():
    with pytest.raises(UserError, match="controls are for"):
        evaluate_controls(UpGradient(SPACE), EvaluationSpec("rl_suite/DarkRoom-v0"))
    with pytest.raises(UserError, match="choose another substrate than flat"):
        control_options({"substrate": "flat"})
    with pytest.raises(UserError, match="at least two episodes"):
        evaluate_controls(UpGradient(SPACE), spec(1))


@pytest.mark.parametrize("name", ["scripted", "biased_random", "constant", "random"])
@pytest.mark.parametrize("mode", ["delete_ratio", "per_node"])
def test_baselines_have_names(name, mode):
    agent = make_baseline(name, EvaluationSpec(f"envs:{WORLD}", {"action_mode": mode}))
    env = gym.make_vec(WORLD, num_envs=3, action_mode=mode)
    actions, _ = agent.predict(env.reset(seed=0)[0])
    rewards = env.step(actions)[1]
    assert all(math.isfinite(reward) for reward in rewards)


def test_baselines_of_durotaxis_refuse_other_worlds():
    with pytest.raises(UserError, match="baseline=scripted cannot act in rl_suite/DarkRoom-v0"):
        make_baseline("scripted", EvaluationSpec("rl_suite/DarkRoom-v0"))
