from rl_suite.benchmarks import Options, network_speed


def test_colonies_are_of_the_promised_size(monkeypatch):
    """About 56 nodes, whatever happens in them: smaller colonies would be faster than was promised."""
    monkeypatch.setattr(network_speed, "ENCODERS", network_speed.ENCODERS[:1])
    small = {"model_type": "graph_cnn", "freeze": True, "options": {"width": 4}}
    monkeypatch.setattr(network_speed, "MODELS", (small, small))
    result = network_speed.run(Options(quick=True, repeats=1))
    assert [row.unit for row in result.rows] == ["steps/s", "ms/graph"]
    low, high = (float(word) for word in result.notes[1].split() if word.isdigit())
    assert 48 <= low <= high <= 64
