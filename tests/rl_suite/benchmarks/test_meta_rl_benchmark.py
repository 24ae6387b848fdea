"""The benchmark of meta-reinforcement learning counts what it says."""

import pytest

from rl_suite.benchmarks import meta_rl


def trial(name, seed, before, after):
    middle = {f"success_after_{k}": after for k in (1, 3, 5)}
    return {"variant": name, "seed": seed, "success_after_0": before, **middle, "success_on_anothers_episodes": before}


def test_gains_are_means_over_seeds_with_their_interval():
    trials = [trial(name, seed, 0.1, 0.3 + 0.2 * seed) for name in meta_rl.VARIANTS for seed in (0, 1)]
    rows = {row.name: row.ours for row in meta_rl.success_rows(trials)}
    assert rows["MAML, first order: success after 5 steps"] == pytest.approx(40)
    assert rows["joint training: after 5 on another task's episodes"] == pytest.approx(10)
    (gain,) = [name for name in rows if name.startswith("untrained: gain")]
    assert gain == "untrained: gain of 5 steps [-97.1, 157.1]"  # Student, one degree of freedom: 30 +- 12.706 * 10
    assert rows[gain] == pytest.approx(30)


def test_policies_are_judged_on_tasks_of_the_test_part():
    found = meta_rl.train("untrained", 0, 1, 1)
    assert set(found["tasks"]) == {"0", "1", "3", "5"}
    assert all(len(values) == 9 for values in found["tasks"].values())
