import pytest

from rl_suite.benchmarks import Options, wsa_ab
from rl_suite.benchmarks.wsa_ab import Trained


def trained(final, seconds, curve):
    return Trained(final, seconds, 1000, curve)


def test_what_is_compared(monkeypatch):
    """Two seeds each way; with attention slower, and in one of two runs never as good in training."""
    slow, fast = [(10.0, 0.0), (20.0, 5.0)], [(1.0, 1.0), (2.0, 4.0)]
    results = {
        (True, 0): trained(6.0, 20.0, slow),
        (True, 1): trained(5.0, 20.0, [(10.0, 0.0), (20.0, 1.0)]),
        (False, 0): trained(4.0, 2.0, fast),
        (False, 1): trained(4.0, 2.0, fast),
    }
    monkeypatch.setattr(wsa_ab, "_train", lambda config, seed: results[config.policy.kwargs["use_wsa"], seed])
    result = wsa_ab.run(Options(extra=("--seeds", "2")))
    rows = {row.name: row for row in result.rows}
    assert rows["held-out return with attention, IQM"].ours == 5.5
    assert rows["held-out return without, IQM"].ours == 4.0
    speed = rows["training"]
    assert speed.ratio == pytest.approx(0.1)
    assert rows["time with attention to the final return without"].ours == float("inf")
    assert rows["time without to its own final return"].ours == 2.0
    assert "difference on the same seeds: 1.5 " in result.notes[0]
    assert [(trial["way"], trial["seed"]) for trial in result.trials] == [
        ("with", 0),
        ("with", 1),
        ("without", 0),
        ("without", 1),
    ]


def test_one_seed_is_not_enough(capsys):
    with pytest.raises(SystemExit) as caught:
        wsa_ab.run(Options(extra=("--seeds", "1")))
    assert caught.value.code == 2
    assert "at least 2" in capsys.readouterr().err


def test_both_ways_train(monkeypatch):
    """The smallest real run of each: one rollout, models of a few weights."""
    config = wsa_ab.load_experiment(
        wsa_ab.CONFIG,
        [
            "experiment=durotaxis_wsa,smoke",
            "train.total_timesteps=128",
            "policy.kwargs.ptms=[{model_type: graph_cnn, options: {width: 4}}]",
        ],
    )
    one = wsa_ab._train(config, 0)
    assert one.seconds > 0
    assert one.parameters > 1000
    assert -10 < one.final < 10
