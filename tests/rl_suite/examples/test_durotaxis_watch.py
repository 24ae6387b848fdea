from envs.durotaxis.replay import Replay
from rl_suite.examples import durotaxis_watch


def test_the_example_writes_what_it_promises(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Replay, "frames", lambda replay, every=1: _few(replay))
    durotaxis_watch.main(tmp_path)
    text = capsys.readouterr().out
    assert "forward_migration_index" in text
    assert "second run has the same hash: True" in text
    for name in ("durotaxis.npz", "durotaxis.csv", "durotaxis.webp"):
        assert (tmp_path / name).stat().st_size > 1000
    replay = Replay.load(tmp_path / "durotaxis.npz")
    assert replay.scene(len(replay)).ending == "goal"


def _few(replay):
    from envs.durotaxis.render import draw

    yield draw(replay.scene(0))
    yield draw(replay.scene(len(replay)))
