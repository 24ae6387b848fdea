"""Acting step by step equals reading the whole trial; losses and masks are hand-computed."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.in_context.agent import MODES, InContextAgent
from agents.in_context.model import InContextModel, Steps, action_loss
from agents.protocol import Agent

B, T = 3, 11
ROOM, MOVES = spaces.MultiDiscrete([4, 5]), spaces.Discrete(3)


def make_model(layout="history", observation_space=ROOM, **kwargs):
    torch.manual_seed(0)
    positions = "none" if layout == "decisions" else "rotary"
    settings = {"width": 16, "n_layers": 2, "n_heads": 2, "feedforward": 32, "positions": positions, **kwargs}
    model = InContextModel(observation_space, MOVES, layout=layout, **settings).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def play(agent, observations, rewards, first):
    """Act through one trial per row; returns the steps that a reader of the whole trial would see, and the logits."""
    memory, logits, actions = agent.begin(B), [], [np.full(B, 3)]
    new = np.zeros((B, T), dtype=bool)
    new[:, 0] = True
    original = agent.logits

    def spy(*arguments):
        logits.append(original(*arguments))
        return logits[-1]

    agent.logits = spy
    for t in range(T):
        actions.append(agent.act(memory, observations[:, t], rewards[:, t], first[:, t], new[:, t]))
    return np.stack(actions, 1), torch.stack(logits, 1)


@pytest.fixture
def trial():
    rng = np.random.default_rng(0)
    observations = rng.integers([4, 5], size=(B, T, 2))
    rewards = rng.integers(2, size=(B, T)).astype(np.float64)
    rewards[:, 0] = 0
    first = np.zeros((B, T), dtype=bool)
    first[:, ::4] = True
    return observations, rewards, first


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("counts", [{}, {"count_rewards": True}, {"count_episodes": 2}])
def test_acting_equals_reading_the_history(trial, mode, counts):
    observations, rewards, first = trial
    model = make_model(**counts)
    actions, logits = play(InContextAgent(model, window=T, mode=mode), observations, rewards, first)
    rewarded = np.zeros((B, T), dtype=np.int64)
    for t in range(1, T):
        rewarded[:, t] = np.where(first[:, t], 0, rewarded[:, t - 1] + (rewards[:, t] != 0))
    arrays = observations, actions[:, :T], rewards, first, rewarded, np.cumsum(first, axis=1) - 1
    expected, _ = model(Steps(*(torch.as_tensor(array) for array in arrays)))
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_acting_equals_reading_the_decisions(trial, mode):
    observations, rewards, first = trial
    model = make_model("decisions")
    actions, logits = play(InContextAgent(model, window=T, mode=mode), observations, rewards, first)
    # A transition pairs an observation with the action taken there and the reward that followed.
    earned = np.append(rewards[:, 1:], np.zeros((B, 1)), axis=1)
    nothing = np.zeros((B, T), dtype=np.int64)
    arrays = observations, actions[:, 1:], earned, nothing.astype(bool), nothing, nothing
    expected, _ = model(Steps(*(torch.as_tensor(array) for array in arrays)))
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-4)


def test_re_encoding_reads_only_the_last_tokens(trial):
    observations, rewards, first = trial
    model, window = make_model(), 5
    actions, logits = play(InContextAgent(model, window=window, mode="re_encode"), observations, rewards, first)
    nothing = np.zeros((B, T), dtype=np.int64)
    arrays = observations, actions[:, :T], rewards, first, nothing, nothing
    steps = Steps(*(torch.as_tensor(array)[:, T - window :] for array in arrays))
    expected, _ = model(steps)
    torch.testing.assert_close(logits[:, -1], expected[:, -1], atol=1e-4, rtol=1e-3)


def test_the_order_of_a_set_of_decisions_does_not_matter():
    model = make_model("decisions", n_layers=1)
    steps = Steps(
        torch.randint(4, (1, T, 2)),
        torch.randint(3, (1, T)),
        torch.rand(1, T),
        torch.zeros(1, T, dtype=torch.bool),
        *torch.zeros(2, 1, T),
    )
    order = torch.cat([torch.randperm(T - 1), torch.tensor([T - 1])])  # the last question keeps its place
    shuffled = Steps(*(field[:, order] for field in steps))
    torch.testing.assert_close(model(steps)[0][:, -1], model(shuffled)[0][:, -1], atol=1e-5, rtol=1e-4)


def test_predict_plays_trials_and_forgets_between_them():
    agent = InContextAgent(make_model(), window=6, seed=1)
    assert isinstance(agent, Agent)
    seen = {
        "observation": np.array([[1, 2], [3, 4]]),
        "previous_action": np.array([3, 3]),
        "previous_reward": np.zeros((2, 1), dtype=np.float32),
        "previous_done": np.zeros((2, 1), dtype=np.int8),
    }
    actions, state = agent.predict(seen)
    for _ in range(3):
        actions, state = agent.predict({**seen, "previous_action": actions}, state, np.zeros(2, dtype=bool))
    assert state[0].tokens.length.tolist() == [4, 4]
    _, state = agent.predict(seen, state, np.array([True, False]))
    assert state[0].tokens.length.tolist() == [1, 5]
    with pytest.raises(ValueError, match="Trial-v0"):
        agent.predict(np.zeros((2, 2)))


def test_temperature_sharpens_and_seed_repeats():
    def choices(temperature, seed=0, deterministic=False):
        agent = InContextAgent(make_model(), window=4, temperature=temperature, seed=seed)
        flags, out = np.ones(200, dtype=bool), []
        memory = agent.begin(200)
        out.append(agent.act(memory, np.ones((200, 2)), np.zeros(200), flags, flags, deterministic))
        return out[0]

    best = choices(1.0, deterministic=True)
    assert (choices(1e-3) == best).all()
    assert 0 < (choices(1.0) != best).mean() < (choices(50.0) != best).mean()
    assert (choices(1.0, seed=5) == choices(1.0, seed=5)).all()
    with pytest.raises(ValueError, match="temperature must be above 0"):
        choices(0.0)


def test_reals_and_nothing_can_be_seen():
    for space, seen in ((spaces.Box(-1, 1, (3,)), np.zeros((B, 3))), (spaces.Discrete(1), np.zeros(B))):
        agent = InContextAgent(make_model(observation_space=space), window=4)
        flags = np.ones(B, dtype=bool)
        assert agent.act(agent.begin(B), seen, np.zeros(B), flags, flags).shape == (B,)
    with pytest.raises(ValueError, match="Discrete actions"):
        InContextModel(ROOM, spaces.Box(-1, 1, (2,)))
    with pytest.raises(ValueError, match="unordered"):
        InContextModel(ROOM, MOVES, layout="decisions", positions="rotary")


def test_soft_labels_are_a_cross_entropy():
    logits = torch.tensor([[[0.0, 0.0], [2.0, 0.0]]])
    labels = torch.tensor([[[0.5, 0.5], [1.0, 0.0]]])
    loss, accuracy = action_loss(logits, labels)
    expected = (np.log(2) + np.log1p(np.exp(-2))) / 2
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    assert accuracy.item() == 1.0
    only_first = action_loss(logits, labels, torch.tensor([[True, False]]))[0]
    assert only_first.item() == pytest.approx(np.log(2), abs=1e-6)
