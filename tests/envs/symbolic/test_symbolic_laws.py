"""Physics tasks and benchmark tables: right formulas, right data, splits that do not leak."""

import csv
from pathlib import Path

import numpy as np
import pytest

from envs.symbolic.benchmarks import BASE_UNITS, SETS, add_noise, problem, problems, unit_table
from envs.symbolic.classic_laws import CLASSIC_LAWS
from envs.symbolic.laws import PARTS, PhysicsTaskDistribution, split_families
from envs.symbolic.pointwise import evaluate_pointwise
from envs.symbolic.text import parse

SIZES = {"nguyen": 12, "r": 3, "livermore": 22, "jin": 6, "keijzer": 15, "feynman": 100, "strogatz": 14}


@pytest.mark.parametrize("group", SETS)
def test_every_problem_samples_finite_data_that_its_formula_gives(group: str) -> None:
    found = problems(group)
    assert len(found) == SIZES[group]
    assert len({p.name for p in found}) == len(found)
    for p in found:
        X, y = p.sample(np.random.default_rng(0))
        assert X.shape == (len(y), len(p.variables))
        assert np.isfinite(X).all()
        assert np.isfinite(y).all()
        assert y.std() > 0
        np.testing.assert_allclose(p.value(X), y, rtol=1e-12)


def test_hand_computed_values() -> None:
    assert problem("Nguyen-7").value(np.array([[1.0]]))[0] == pytest.approx(2 * np.log(2))
    assert problem("I.12.2").value(np.array([[2.0, 3.0, 1.0, 2.0]]))[0] == pytest.approx(6 / (16 * np.pi))
    assert problem("shearflow-1").value(np.array([[0.0, np.pi / 4]]))[0] == pytest.approx(1.0)
    assert problem("lv-1").value(np.array([[2.0, 1.0]]))[0] == pytest.approx(6 - 4 - 4)


def test_strogatz_trajectories_start_where_they_should_and_obey_the_equation() -> None:
    p = problem("vdp-2")
    X, y = p.sample(np.random.default_rng(0))
    np.testing.assert_allclose(X[0], [2.0, 0.0])
    rate = np.gradient(X[:100, 1], 20 / 99)
    assert np.abs(rate - y[:100]).max() < 0.1  # the derivative of the path is the target, to the grid's accuracy


def test_units_are_tables_of_si_exponents() -> None:
    table = unit_table()
    assert BASE_UNITS == ("m", "kg", "s", "A", "K")
    assert table["epsilon"] == (-3, -1, 4, 2, 0)  # farad per metre
    assert problem("I.12.2").dimensions().target.tolist() == [12, 12, -24, 0, 0]  # newton, times 12
    with pytest.raises(ValueError, match="no units"):
        problem("Nguyen-1").dimensions()


def test_tables_agree_with_the_published_feynman_equations(shared_data: Path) -> None:
    path = shared_data / "feynman" / "FeynmanEquations.csv"
    if not path.exists():
        pytest.skip(f"no {path}")
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["Filename"]]
    assert len(rows) == 100
    for row in rows:
        p = problem(row["Filename"])
        named = [i for i in range(1, 11) if row[f"v{i}_name"]]  # "# variables" is wrong on six rows
        assert tuple(row[f"v{i}_name"] for i in named) == p.variables
        assert tuple(float(row[f"v{i}_low"]) for i in named) == p.low
        assert tuple(float(row[f"v{i}_high"]) for i in named) == p.high
        X, y = p.draw(np.random.default_rng(0), 30)
        theirs = parse(row["Formula"], p.library)
        np.testing.assert_allclose(evaluate_pointwise(theirs.program, X, p.library, theirs.constants), y, rtol=1e-9)


def test_noise_has_the_promised_size() -> None:
    y = np.full(200_000, 3.0)
    noisy = add_noise(y, 0.1, np.random.default_rng(0))
    assert np.std(noisy - y) == pytest.approx(0.3, rel=0.01)
    assert add_noise(y, 0.0, np.random.default_rng(0)) is y


def test_classic_laws_hold_and_their_mended_defects_stay_mended() -> None:
    tasks = PhysicsTaskDistribution(include_noise=False, collection="classic")
    assert [t.name for t in tasks.tasks] == [law.name for law in CLASSIC_LAWS]
    rng = np.random.default_rng(0)
    coulomb = tasks.get_task_by_name("coulomb_law").generate_data(500, rng)
    assert (np.sign(coulomb[:, -1]) == np.sign(coulomb[:, 0] * coulomb[:, 1])).all()
    gas = tasks.get_task_by_name("ideal_gas").generate_data(500, rng)
    assert gas[:, -1].std() / gas[:, -1].mean() > 0.3
    oscillator = tasks.get_task_by_name("harmonic_oscillator_energy").generate_data(200, rng)
    assert len(np.unique(oscillator[:, 2])) == 200  # a spring of its own for every row
    pendulum = tasks.get_task_by_name("double_pendulum_energy").generate_data(10, rng)
    assert pendulum.shape == (10, 10)
    np.testing.assert_allclose(tasks.tasks[0].generate_data(1, rng).shape, (1, 5))
    with pytest.raises(ValueError, match="at least 1"):
        tasks.tasks[0].generate_data(0, rng)


def test_large_collection_every_task_draws_and_dummies_do_not_matter() -> None:
    tasks = PhysicsTaskDistribution(include_noise=False)
    assert len(tasks) >= 200
    rng = np.random.default_rng(0)
    for task in tasks.tasks:
        data = task.generate_data(40, rng)
        assert data.shape == (40, len(task.variables) + 1)
        assert np.isfinite(data).all()
        assert data[:, -1].std() > 0
        X = data[:, : len(task.problem.variables)]
        np.testing.assert_allclose(task.problem.value(X), data[:, -1], rtol=1e-12)
    assert any(task.dummies for task in tasks.tasks)


def test_the_split_is_by_family_and_covers_everything() -> None:
    for seed in (0, 1):
        parts = [PhysicsTaskDistribution(part=part, seed=seed) for part in PARTS]
        names = [{t.name for t in p.tasks} for p in parts]
        families = [set(p.families) for p in parts]
        assert sum(map(len, names)) == len(PhysicsTaskDistribution(seed=seed))
        for i in range(3):
            assert len(parts[i]) > 10
            for j in range(i):
                assert not families[i] & families[j]
    assert split_families(("a", "b", "c", "d"), 0) == split_families(("a", "b", "c", "d"), 0)


def test_sampling_is_seeded_and_curriculum_rises() -> None:
    first = [t.name for t in PhysicsTaskDistribution(seed=3).sample_task_batch(20)]
    assert first == [t.name for t in PhysicsTaskDistribution(seed=3).sample_task_batch(20)]
    batch = PhysicsTaskDistribution(seed=0).sample_task_batch(12, curriculum=True, balanced_domains=True)
    assert np.mean([t.difficulty for t in batch[:4]]) < np.mean([t.difficulty for t in batch[-4:]])
    assert len({t.domain for t in batch}) == len(PhysicsTaskDistribution(seed=0).domains)


def test_lookup_relations_and_refusals() -> None:
    tasks = PhysicsTaskDistribution()
    related = tasks.get_related_tasks("kepler_orbit", 3)
    assert 0 < len(related) <= 3
    assert all(t.domain == "gravitation" for t in related)
    assert tasks.sample_task(require_symmetry="rotation").name in ("kepler_orbit", "coulomb_law")
    with pytest.raises(ValueError, match="did you mean"):
        tasks.get_task_by_name("pendulum")
    with pytest.raises(ValueError, match="no task has"):
        tasks.sample_task(domain="astrology")
    with pytest.raises(ValueError, match="unknown benchmark set"):
        problems("feynmann")
    with pytest.raises(ValueError, match="unknown problem"):
        problem("Nguyen-13")
