"""The world of expressions: rewards by hand and by numpy, masks by replay, shaping that adds up, own data."""

import gymnasium as gym
import numpy as np
import pytest
from matplotlib.figure import Figure
from symbolic_oracles import evaluate_with_numpy

import envs  # noqa: F401
from envs.symbolic.datasets import MAX_POINTS, Dataset, make_datasets, make_sample
from envs.symbolic.grammar import Grammar
from envs.symbolic.render import Scene, as_text, draw_fit, draw_tree, tree_graph
from envs.symbolic.tokens import Library

ID = "rl_suite/SymbolicRegression-v0"
X = np.linspace(-2.0, 2.0, 25)[:, None]


def make(**options):
    return gym.make(ID, **{"task": "nguyen-1", **options}).unwrapped


def play(env, names):
    """Write a program; every token but the last must leave the episode open. Returns the last step."""
    env.reset(seed=0)
    words = names.split()
    for word in words[:-1]:
        step = env.step(env.world.library.id(word))
        assert step[1:3] == (0.0, False), word
    return env.step(env.world.library.id(words[-1]))


def random_legal(masks, rng):
    return np.where(masks, rng.random(masks.shape), -1.0).argmax(axis=1)


def test_the_law_itself_earns_one():
    env = make()
    observation, reward, terminated, truncated, info = play(env, "add mul x mul x x add mul x x x")
    assert reward == pytest.approx(1.0, abs=1e-12)
    assert (terminated, truncated) == (True, False)
    assert info["recovered"]
    assert info["expression"] == "x*x*x + x*x + x"
    assert info["complexity"] == 11
    assert observation["slot"].tolist() == [0, 0, 0, 30 - 11]
    assert not observation["action_mask"].any()


def test_a_wrong_law_earns_its_share():
    env = make(task=Dataset("line", ("x",), X, 2.0 * X[:, 0]))
    _, reward, _, _, info = play(env, "x")
    nrmse = np.sqrt(np.mean(X[:, 0] ** 2)) / np.std(2.0 * X[:, 0])  # the residual is x
    assert info["nrmse"] == pytest.approx(nrmse)
    assert reward == pytest.approx(1.0 / (1.0 + nrmse))
    assert not info["recovered"]


def test_observations_tell_what_comes_next():
    env = make(literals=["1"])
    first, info = env.reset(seed=0)
    library = env.world.library
    assert info == {"task": 0, "nrmse": np.inf, "complexity": 0, "recovered": False, "expression": ""}
    assert first["slot"].tolist() == [0, 0, 1, 30]
    assert first["tokens"].tolist() == [0] * 30
    env.step(library.id("mul"))
    second = env.step(library.id("x"))[0]
    assert second["slot"].tolist() == [library.id("mul") + 1, library.id("x") + 1, 1, 28]
    assert second["tokens"][:3].tolist() == [library.id("mul") + 1, library.id("x") + 1, 0]
    np.testing.assert_array_equal(second["action_mask"], env.action_masks())
    assert first["data"].shape == (20, 2)
    assert abs(first["data"].mean(axis=0)).max() < 1e-5  # standardised


def test_illegal_tokens_end_the_episode_without_reward():
    env = make()
    env.reset(seed=0)
    env.step(env.world.library.id("exp"))
    for _ in range(40):  # stepping on after the end is harmless
        _, reward, terminated, _, info = env.step(env.world.library.id("log"))
        assert (reward, terminated, info["expression"], info["nrmse"]) == (0.0, True, "", np.inf)
    assert env.reset(seed=0)[0]["slot"].tolist() == [0, 0, 1, 30]
    with pytest.raises(ValueError, match=r"action 99 of row 0 is not one of 0\.\.8"):
        env.step(99)
    assert env.world.partials.length[0] == 0  # and nothing was changed


def test_non_finite_expressions_earn_nothing():
    _, reward, terminated, _, info = play(make(task=Dataset("line", ("x",), X, X[:, 0])), "log x")
    assert (reward, terminated, info["nrmse"], info["expression"]) == (0.0, True, np.inf, "log(x)")


def test_constants_are_fitted_when_the_expression_is_whole():
    data = Dataset("wave", ("x",), X, 1.5 * np.sin(0.7 * X[:, 0]) - 0.25)
    env = make(task=data, constant=True)
    _, reward, _, _, info = play(env, "add c mul c sin mul c x")
    assert reward == pytest.approx(1.0, abs=1e-8)
    assert sorted(abs(env.world.constants[0]).round(6)) == [0.25, 0.7, 1.5]
    assert info["recovered"]
    assert "sin(" in info["expression"]
    assert env.world.rules.repeats == {"c": 3}


def test_recovery_is_judged_outside_the_training_points():
    data = make_datasets("nguyen-1")[0]
    assert len(data.y_test) == 200
    assert abs(data.X_test).max() > 1.2  # training ranges end at 1
    fooled = Dataset("fooled", ("x",), data.X, data.y, None, "", data.X_test, data.y_test + 0.1)
    assert not play(make(task=fooled), "add mul x mul x x add mul x x x")[4]["recovered"]


def test_rewards_and_masks_of_random_episodes_agree_with_numpy_and_replay():
    env = gym.make_vec(
        ID, num_envs=64, task=["nguyen-2", "nguyen-9"], functions=["add", "mul", "sq", "log"], max_length=12
    )
    world, rng = env.unwrapped.world, np.random.default_rng(0)
    grammar = Grammar(world.library, world.rules)
    env.reset(seed=1)
    replayed = grammar.start(64)
    ended = 0
    for _ in range(60):
        expected = grammar.masks(replayed)
        expected[:, world.library.id("y")] &= world.task == 1  # nguyen-2 has no y
        expected[~expected.any(axis=1), world.library.id("x")] = True  # x - x, where nothing else is left
        np.testing.assert_array_equal(env.unwrapped.action_masks(), expected)
        actions, tasks = random_legal(expected, rng), world.task.copy()
        grammar.advance(replayed, actions)
        _, rewards, terminated, _, _ = env.step(actions)
        for row in np.flatnonzero(terminated):
            data = world.datasets[tasks[row]]
            program = replayed.tokens[row, : replayed.length[row]]
            padded = np.pad(data.X, ((0, 0), (0, 2 - data.X.shape[1])))
            values = evaluate_with_numpy(program, world.library, padded)
            with np.errstate(over="ignore"):
                nrmse = np.sqrt(np.mean((values - data.y) ** 2)) / data.y.std()
            assert rewards[row] == pytest.approx(1 / (1 + nrmse) if np.isfinite(nrmse) else 0.0, rel=1e-6, abs=1e-9)
            for array, fresh in zip(replayed, grammar.start(1), strict=True):
                array[row] = fresh[0]
            ended += 1
        assert not rewards[~terminated].any()
    assert ended > 200


def test_parsimony_prefers_the_shorter_of_two_equal_laws():
    env = make(task=Dataset("line", ("x",), X, X[:, 0]), parsimony=0.01)
    assert play(env, "x")[1] == pytest.approx(1.0 - 0.01)
    assert play(env, "sub add x x x")[1] == pytest.approx(1.0 - 0.05)


def test_shaping_adds_up_to_a_constant():
    """With gamma 1 the shaped return is the plain one less the potential of the empty program."""
    plain, shaped = (gym.make_vec(ID, num_envs=32, task="nguyen-1", shaping=s) for s in (0.0, 0.5))
    world, rng = shaped.unwrapped.world, np.random.default_rng(0)
    plain.reset(seed=2)
    shaped.reset(seed=2)
    x, y = world.datasets[0].X[:, 0], world.datasets[0].y
    empty = 1.0 / (1.0 + np.sqrt(np.mean((x - y) ** 2)) / y.std())  # the first variable alone
    assert world.potential == pytest.approx(empty)
    returns = np.zeros((2, 32))
    compared = 0
    for _ in range(60):
        actions = random_legal(world.masks, rng)
        steps = [env.step(actions) for env in (plain, shaped)]
        returns += [step[1] for step in steps]
        done = steps[0][2]
        np.testing.assert_allclose(returns[1, done], returns[0, done] - 0.5 * empty, atol=1e-12)
        returns[:, done] = 0.0
        compared += done.sum()
    assert compared > 50


def test_units_lead_every_episode_to_the_units_of_y():
    env = gym.make_vec(ID, num_envs=64, task="I.12.2", units=True, functions="physics", literals=["1"], max_length=12)
    world, rng = env.unwrapped.world, np.random.default_rng(0)
    env.reset(seed=0)
    texts = []
    for _ in range(40):
        infos = env.step(random_legal(world.masks, rng))[4]
        texts += [text for text in infos.get("final_info", {}).get("expression", []) if text]
    assert len(texts) > 50
    assert all("epsilon" in text and "q" in text for text in texts)  # no force without charges


def test_own_data_with_and_without_units():
    table = np.random.default_rng(0).uniform(1.0, 2.0, (30, 2))
    energy = 0.5 * table[:, 0] * table[:, 1] ** 2
    own = {"X": table, "y": energy, "variables": ["m", "v"], "constant": True, "functions": "physics"}
    env = make(**own, units={"m": "kg", "v": "m/s"}, target_units="J", max_length=9)
    _, reward, _, _, info = play(env, "mul c mul m sq v")
    assert reward == pytest.approx(1.0)
    assert info["expression"] == "0.5*m*v^2"
    assert play(make(**own), "mul c mul m sq v")[1] == pytest.approx(1.0)
    kelvin = {**own, "constant": False, "units": {"m": "kg", "v": "m/s"}, "target_units": "K"}
    with pytest.raises(ValueError, match=r"no product of powers .* units of y, K"):
        make(**kelvin)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "nguyen-13"}, "unknown task 'nguyen-13'"),
        ({"task": []}, "no task was given"),
        ({"X": X}, "both X"),
        ({"X": X, "y": X[:, 0], "units": {"x0": "m"}}, "both units .* and target_units"),
        ({"X": X, "y": np.ones(25)}, "y is constant"),
        ({"X": X[:1], "y": X[:1, 0]}, "at least 2 rows"),
        ({"X": X, "y": np.full(25, np.nan)}, "y holds NaN or infinite values, first in row 0"),
        ({"X": [["a"], ["b"]], "y": [1, 2]}, "X must hold numbers only"),
        ({"X": X, "y": X[:3, 0]}, r"X must be \(n, d\) and y \(n,\)"),
        ({"X": X, "y": X[:, 0], "variables": ["a", "b"]}, "2 variable names were given for 1 columns"),
        ({"X": np.ones((5, 60)), "y": np.arange(5.0)}, "60 variables are more than 50"),
        ({"X": np.ones((5, 2)), "y": np.arange(5.0), "variables": ["a", "a"]}, "repeat"),
        ({"units": True}, "Nguyen-1 declares no units"),
        ({"noise": -1.0}, "noise must be >= 0"),
        ({"parsimony": -1.0}, "parsimony must be"),
        ({"gamma": 2.0}, "gamma within"),
        ({"max_constants": -1}, "max_constants"),
        ({"rules": {"min_length": 50}}, "min_length <= max_length"),
        ({"tasks": [5]}, "tasks must be"),
    ],
)
def test_bad_options_say_what_to_do(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_many_rows_are_thinned_out_with_a_message(caplog):
    x = np.linspace(0.0, 1.0, MAX_POINTS + 5)
    data = Dataset.from_arrays(x, x**2)
    assert data.X.shape == (MAX_POINTS, 1)
    assert "10005 rows are thinned out to 10000" in caplog.text


def test_a_column_vector_is_a_target_too():
    assert Dataset.from_arrays([[1, 2], [3, 4]], [[1], [2]]).y.tolist() == [1.0, 2.0]


def test_tasks_are_drawn_and_can_be_shown():
    env = gym.make_vec(ID, num_envs=200, task="nguyen", show_task=True)
    observation, infos = env.reset(seed=0)
    assert set(observation["task"]) == set(range(12))
    np.testing.assert_array_equal(observation["task"], infos["task"])
    sample = make_sample(env.unwrapped.world.datasets, 20)
    np.testing.assert_array_equal(observation["data"], sample[observation["task"]])
    assert not sample[0, :, 1].any()  # nguyen-1 has no second variable
    fixed = gym.make(ID, task="nguyen").reset(seed=0, options={"task": 3})
    assert fixed[1]["task"] == 3


def test_text_shows_open_places():
    env = make(render_mode="ansi")
    env.reset(seed=0)
    for name in ["add", "mul", "x"]:
        env.step(env.world.library.id(name))
    assert env.render() == "task Nguyen-1: 20 points of x\ny = x*? + ?\nprefix: add mul x\n"


def test_trees_are_drawn_in_reading_order():
    library = Library("koza", ["x", "y"])
    graph, places = tree_graph(library.encode(["add", "mul", "x", "y", "sin", "x"]), library)
    assert sorted(graph.edges) == [(0, 1), (0, 4), (1, 2), (1, 3), (4, 5)]
    assert [places[leaf][0] for leaf in (2, 3, 5)] == sorted(places[leaf][0] for leaf in (2, 3, 5))
    assert all(places[child][1] == places[parent][1] - 1 for parent, child in graph.edges)
    assert places[1][0] == (places[2][0] + places[3][0]) / 2


@pytest.mark.parametrize("n_variables", [1, 2])
def test_pictures_call_the_target_by_its_name(n_variables):
    library = Library("koza", ["mass", "stiffness"][:n_variables])
    values = np.random.default_rng(0).uniform(1.0, 2.0, (9, n_variables))
    data = Dataset("spring", library.variables, values, values[:, 0])
    scene = Scene(data, library, library.encode(["mass"]), np.zeros(0), True, 0.0, "period")
    tree, fit = Figure().subplots(1, 2)
    draw_tree(tree, scene)
    draw_fit(fit, scene)
    assert tree.get_title() == "period = mass"
    assert fit.get_ylabel().startswith("period")
    assert "period = mass" in as_text(scene)


@pytest.mark.parametrize("options", [{"units": True}, {"rules": {"repeats": {"c": 8}}}])
def test_every_legal_program_has_room_for_its_constants(options):
    """Where units leave nothing else, and where rules say so, c may be used more often than ``max_constants``."""
    env = gym.make_vec(ID, num_envs=32, **{"task": "I.6.2a", "functions": "physics", "constant": True, **options})
    world, rng, most = env.unwrapped.world, np.random.default_rng(0), 0
    env.reset(seed=0)
    for _ in range(150):
        ended = random_legal(world.masks, rng)
        uses = world.partials.uses[:, world.library.constant_id] + (ended == world.library.constant_id)
        most = max(most, int(uses.max()))
        assert most <= world.constants.shape[1]
        env.step(ended)
    assert most > 3


def test_unknown_options_are_refused():
    with pytest.raises(TypeError, match="max_lenght"):
        make(max_lenght=10)
