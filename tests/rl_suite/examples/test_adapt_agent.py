"""The example follows the shift with few parameters, and leaves the agent as it was."""

import re

from rl_suite.examples import adapt_agent


def test_adapters_follow_the_shift_and_come_off(monkeypatch, capsys):
    monkeypatch.setattr(adapt_agent, "STEPS", 14_336)  # enough for a first success, and a few seconds
    adapt_agent.main()
    learned, lost, whole, share, adapted, back = map(float, re.findall(r"-?\d+\.\d+", capsys.readouterr().out))
    assert share < 5
    assert lost < 2 < learned
    assert adapted > lost + 2
    assert whole > lost + 2
    assert abs(back - learned) < 1.5  # other luck, the same agent
