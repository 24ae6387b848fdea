import gymnasium as gym
import numpy as np
import pytest
import torch
from graph_toys import PointTheWay, observations, shuffled
from gymnasium import spaces
from sb3_contrib import TRPO, CrossQ, RecurrentPPO
from stable_baselines3 import A2C, PPO, SAC
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import DummyVecEnv

import envs  # noqa: F401  # registers the worlds
from agents.actor_critic import Actor, Critic, HybridActorCritic
from agents.graph.batch import GraphBatch, GraphShape
from agents.graph.encoder import ENCODERS, GraphTransformer, moments, moments_width
from envs.spaces import HybridBox

SMALL_PTMS = [
    {"model_type": "graph_cnn", "freeze": True, "options": {"width": 4}},
    {"model_type": "graph_cnn", "freeze": False, "options": {"width": 4}},
]
SMALL_WSA = {"embedding_dim": 16, "context_dim": 16}
VARIANTS = {
    "features": {"encoder": "features"},
    "angles": {"encoder": "features", "angles": [0]},
    "own noise": {"encoder": "features", "shared_noise": False},
    "deepsets": {"encoder": "deepsets"},
    "gnn": {"encoder": "gnn"},
    "wsa": {"encoder": "features", "use_wsa": True, "ptms": SMALL_PTMS, "wsa_config": SMALL_WSA},
    "wsa per node": {
        "encoder": "features",
        "use_wsa": True,
        "ptms": SMALL_PTMS,
        "wsa_config": {**SMALL_WSA, "level": "node", "image": "tokens"},
    },
    "wsa features": {
        "encoder": "features",
        "use_wsa": True,
        "wsa_placement": "features",
        "wsa_config": {**SMALL_WSA, "ptms": SMALL_PTMS, "scorer": "linear"},
    },
}


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def make(per_node=True, algorithm=PPO, n_envs=4, seed=0, **kwargs):
    env = DummyVecEnv([lambda: PointTheWay(per_node=per_node)] * n_envs)
    options = {"n_steps": 16, "seed": seed, "device": "cpu"}
    if algorithm is not A2C:
        options["batch_size"] = 16 * n_envs
    return algorithm(HybridActorCritic, env, policy_kwargs={"hidden_dim": 32, **kwargs}, **options)


def perturb(policy):
    """Move all weights a little, so that small initial heads do not hide what depends on what."""
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter += 0.3 * torch.randn_like(parameter)


def test_the_toy_is_a_proper_world():
    check_env(PointTheWay(), warn=False)
    check_env(PointTheWay(per_node=False), warn=False)


@pytest.mark.parametrize("per_node", [True, False])
@pytest.mark.parametrize("variant", VARIANTS)
def test_ratios_are_exactly_one_and_one_policy_acts(variant, per_node):
    model = make(per_node, **VARIANTS[variant])
    model.learn(64)
    _, callback = model._setup_learn(64)
    model.collect_rollouts(model.env, callback, model.rollout_buffer, 16)
    model.policy.set_training_mode(True)
    for batch in model.rollout_buffer.get(32):
        values, log_prob, entropy = model.policy.evaluate_actions(batch.observations, batch.actions)
        torch.testing.assert_close((log_prob - batch.old_log_prob).exp(), torch.ones(32), rtol=5e-5, atol=5e-5)
        torch.testing.assert_close(values.flatten(), batch.old_values, rtol=1e-4, atol=1e-4)
        assert entropy.shape == (32,)


@pytest.mark.parametrize("variant", VARIANTS)
def test_graph_i_depends_on_graph_i_only(variant):
    policy = make(**VARIANTS[variant]).policy
    perturb(policy)
    batch = observations(6)
    with torch.no_grad():
        values, mode = policy.predict_values(batch), policy.get_distribution(batch).mode()
        for i in range(6):
            one = {key: value[i : i + 1] for key, value in batch.items()}
            torch.testing.assert_close(policy.predict_values(one)[0], values[i], rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(policy.get_distribution(one).mode()[0], mode[i], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_learning_sees_the_same_policy_as_acting(variant):
    """No dropout, no batch statistics: SB3 acts in evaluation mode and learns in training mode."""
    policy = make(**VARIANTS[variant]).policy
    perturb(policy)
    batch = observations(6)
    said = {}
    for training in (False, True):
        policy.set_training_mode(training)
        with torch.no_grad():
            said[training] = policy.get_distribution(batch).mode(), policy.predict_values(batch)
    for acting, learning in zip(said[False], said[True], strict=True):
        torch.testing.assert_close(learning, acting, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_permuting_nodes_permutes_actions(variant):
    policy = make(**VARIANTS[variant]).policy
    perturb(policy)
    batch, order = observations(5), torch.randperm(12, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        straight = policy.get_distribution(batch).mode().view(5, 12, 2)
        turned = policy.get_distribution(shuffled(batch, order)).mode().view(5, 12, 2)
    torch.testing.assert_close(turned, straight[:, order], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        policy.predict_values(shuffled(batch, order)), policy.predict_values(batch), rtol=1e-4, atol=1e-4
    )


def test_edges_reach_the_nodes_that_they_name():
    """Message passing: changing node 0 changes, after one layer, exactly node 0 and its neighbours."""
    torch.manual_seed(0)
    observation = observations(2)
    shape = GraphShape.of(PointTheWay().observation_space)
    encoder = GraphTransformer(shape, 32, True, layers=1, groups=0)
    for told in encoder.to_nodes:
        torch.nn.init.zeros_(told.weight)
    changed = {key: value.clone() for key, value in observation.items()}
    changed["x"][1, 0] += 1.0
    before, after = GraphBatch(observation), GraphBatch(changed)
    moved = (encoder(before).nodes - encoder(after).nodes).abs().max(dim=1).values > 1e-6
    edges = observation["edge_index"][1, :, : int(observation["num_edges"][1])].tolist()
    neighbours = (
        {0} | {b for a, b in zip(*edges, strict=True) if a == 0} | {a for a, b in zip(*edges, strict=True) if b == 0}
    )
    first = int(before.parts.counts[0])
    assert set((moved.nonzero().flatten() - first).tolist()) == neighbours


def test_packing_by_hand():
    observation = observations(3)
    batch = GraphBatch(observation)
    counts = observation["num_nodes"].flatten().tolist()
    assert batch.parts.counts.tolist() == counts
    assert batch.x.shape == (sum(counts), 5)
    torch.testing.assert_close(batch.x[counts[0] : counts[0] + counts[1]], observation["x"][1, : counts[1]])
    k = int(observation["num_edges"][0])
    expected = observation["edge_index"][1, :, : int(observation["num_edges"][1])].long() + counts[0]
    assert batch.edge_index[:, k : k + expected.shape[1]].tolist() == expected.tolist()
    torch.testing.assert_close(batch.edge_attr[:k], observation["edge_attr"][0, :k])


def test_moments_point_up_the_gradient():
    observation = observations(4)
    result = moments(GraphBatch(observation))
    n = int(observation["num_nodes"][2])
    x = observation["x"][2, :n].double()
    torch.testing.assert_close(result[2, :5].double(), x.mean(0), rtol=0, atol=1e-6)
    torch.testing.assert_close(result[2, 5:10].double(), x.square().mean(0).sqrt())
    spread = x[:, :2].square().mean().sqrt() * x[:, 2].square().mean().sqrt()
    vector = (x[:, :2] * x[:, 2:3]).mean(0) / spread  # pairs (0, 2) and (1, 2) of (0, 1), (0, 2), ..., (1, 2), ...
    torch.testing.assert_close(result[2, [11, 14]].double(), vector, rtol=0, atol=1e-5)
    turned = {key: value.clone() for key, value in observation.items()}
    turned["x"][..., :2] = torch.stack([-observation["x"][..., 1], observation["x"][..., 0]], dim=-1)
    torch.testing.assert_close(
        moments(GraphBatch(turned))[:, [11, 14]], torch.stack([-result[:, 14], result[:, 11]], dim=1)
    )


def test_slopes_point_up_the_gradient_of_a_long_thin_colony():
    """Its correlations with the positions point along the colony instead."""
    generator = torch.Generator().manual_seed(0)
    nodes = torch.zeros(1, 12, 5)
    nodes[0, :9, :2] = torch.randn(9, 2, generator=generator) @ torch.tensor([[2.0, 1.9], [0.1, -0.1]])
    nodes[0, :9, :2] -= nodes[0, :9, :2].mean(dim=0)
    nodes[0, :9, 2] = nodes[0, :9, :2] @ torch.tensor([0.6, -0.8])
    mask = (torch.arange(12) < 9).to(torch.int8).unsqueeze(0)
    result = moments(GraphBatch({"x": nodes, "node_mask": mask, "graph": torch.zeros(1, 3)}))[0]
    assert len(result) == moments_width(5)
    torch.testing.assert_close(result[-6:-4] / result[-6:-4].norm(), torch.tensor([0.6, -0.8]), rtol=0, atol=0.1)
    along = result[[11, 14]] / result[[11, 14]].norm()
    assert along @ torch.tensor([0.6, -0.8]) < 0.5
    alone = {"x": torch.zeros(1, 12, 5), "node_mask": mask * 0, "graph": torch.zeros(1, 3)}
    assert moments(GraphBatch(alone)).isfinite().all()


@pytest.mark.parametrize("name", ENCODERS)
def test_padding_changes_nothing(name):
    observation = observations(3)
    shape = GraphShape.of(PointTheWay().observation_space)
    encoder = ENCODERS[name](shape, 32, True)
    noisy = {key: value.clone() for key, value in observation.items()}
    for i in range(3):
        noisy["edge_index"][i, :, int(noisy["num_edges"][i]) :] = 5
        noisy["edge_attr"][i, int(noisy["num_edges"][i]) :] = 7.0
    torch.testing.assert_close(encoder(GraphBatch(observation)).graph, encoder(GraphBatch(noisy)).graph)


@pytest.mark.parametrize("algorithm", [A2C, TRPO])
@pytest.mark.parametrize("variant", ["gnn", "wsa"])
def test_other_stock_algorithms_train_it(algorithm, variant):
    model = make(algorithm=algorithm, n_envs=2, **VARIANTS[variant])
    if algorithm is TRPO:
        model.cg_max_steps = 2
    before = torch.cat([p.detach().flatten() for p in model.policy.actor.parameters()])
    model.learn(32)
    assert (torch.cat([p.detach().flatten() for p in model.policy.actor.parameters()]) != before).any()


@pytest.mark.parametrize("per_node", [True, False])
def test_ppo_learns(per_node):
    env = DummyVecEnv([lambda: PointTheWay(per_node=per_node)] * 16)
    model = PPO(
        HybridActorCritic,
        env,
        n_steps=32,
        batch_size=256,
        n_epochs=5,
        learning_rate=3e-3,
        gamma=0.0,
        policy_kwargs={"encoder": "features"},
        seed=0,
        device="cpu",
    )
    model.learn(7_000)
    held_out = DummyVecEnv([lambda: PointTheWay(per_node=per_node)] * 4)
    held_out.seed(100)
    score, _ = evaluate_policy(model, held_out, 40, warn=False)
    assert score / 8 > 0.8  # acting at random: 0.5; always the same: 0.5


@pytest.mark.parametrize("variant", ["gnn", "wsa", "wsa features"])
def test_save_load_and_set_parameters(variant, tmp_path):
    model = make(**VARIANTS[variant]).learn(64)
    observation = model.env.reset()
    expected = model.predict(observation, deterministic=True)[0]
    model.save(tmp_path / "model.zip")
    model.policy.save(str(tmp_path / "policy.pt"))
    fresh = make(seed=7, **VARIANTS[variant])
    fresh.set_parameters(tmp_path / "model.zip")
    loaded = PPO.load(tmp_path / "model.zip", device="cpu")
    policy = HybridActorCritic.load(str(tmp_path / "policy.pt"), device="cpu")
    for agent in (loaded, fresh, policy):
        np.testing.assert_allclose(agent.predict(observation, deterministic=True)[0], expected, atol=1e-6)


def test_the_critic_is_the_sum_of_its_heads_and_heads_can_be_fitted():
    model = make(encoder="features", reward_components=("distance", "growth"))
    policy, observation = model.policy, observations(64)
    latents, _ = policy.latents(observation)
    parts = policy.component_values(latents)
    torch.testing.assert_close(policy.predict_values(observation), parts.sum(1, keepdim=True))
    tokens = latents.tokens.graph.detach()
    wanted = torch.stack([policy.critic.trunk(tokens)[:, 0], torch.full((64,), 3.0)], dim=1).detach()
    before = (policy.critic(tokens) - wanted).pow(2).mean()
    policy.critic.fit_heads(tokens, wanted, ridge=1e-6)
    after = (policy.critic(tokens) - wanted).pow(2).mean()
    assert before > 1.0
    assert after < 1e-3


def test_the_attention_of_a_policy_has_rows_that_sum_to_one():
    batch = observations(5)
    n_nodes = int(batch["num_nodes"].sum())
    for variant, rows in (("wsa", 5), ("wsa per node", n_nodes), ("wsa features", 5)):
        weights = make(**VARIANTS[variant]).policy.attention(batch)
        assert weights.shape == (rows, 2)
        torch.testing.assert_close(weights.sum(1), torch.ones(rows))
    with pytest.raises(ValueError, match="no attention"):
        make(**VARIANTS["gnn"]).policy.attention(batch)


def test_actor_and_critic_stand_alone():
    nodes, graphs, owners = torch.zeros(5, 8), torch.zeros(2, 8), torch.tensor([0, 0, 1, 1, 1])
    parameters = Actor(8, 16, 3, 2, n_angles=1)(nodes, graphs, owners)
    assert [tuple(part.shape) for part in parameters] == [(5, 3), (5, 1), (5, 1, 2), (5, 1), (1,), (1,), (1,)]
    with pytest.raises(ValueError, match="cannot be more than"):
        Actor(8, 16, 3, 2, n_angles=3)
    assert Critic(8, 16, ("a", "b"))(torch.zeros(4, 8)).shape == (4, 2)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"encoder": "gcn"}, "encoder must be one of"),
        ({"encoder": ["gnn"]}, "encoder must be one of"),
        ({"encoder": {}}, "encoder must be one of"),
        ({"reward_components": 5}, "at least one name"),
        ({"reward_components": [1, None]}, "at least one name"),
        ({"log_std_init": 10**400}, "log_std_init must be a finite number"),
        ({"hidden_dim": {"a": "x" * 9000}}, "hidden_dim must be a whole number"),
        ({"use_wsa": True, "wsa_placement": "critic"}, "wsa_placement"),
        ({"use_wsa": True, "ptms": [{"model_type": "resnet19"}]}, "did you mean 'resnet18'"),
        ({"use_wsa": True, "ptms": SMALL_PTMS, "wsa_config": {"scorer": "deep"}}, "scorer must be"),
        ({"use_wsa": True, "ptms": SMALL_PTMS, "wsa_config": {"heads": 2}}, "combiner 'wsa' got an unexpected"),
        ({"encoder_kwargs": {"heads": 5}}, "must be a multiple of heads=5"),
        ({"use_wsa": "maybe"}, "use_wsa must be true or false"),
        ({"reward_components": []}, "at least one name"),
        ({"hidden_dim": 0}, "hidden_dim must be a whole number from 1 on"),
        ({"use_wsa": True, "ptms": SMALL_PTMS, "wsa_config": {"ptms": SMALL_PTMS}}, "ptms is given twice"),
        ({"ptms": SMALL_PTMS}, "do nothing without use_wsa"),
        ({"net_arch": [512, 512], "activation_fn": torch.nn.ReLU}, "no use for net_arch, activation_fn"),
        ({"features_extractor_class": FlattenExtractor}, "no use for features_extractor_class"),
        ({"log_std_init": float("nan")}, "log_std_init must be a finite number"),
        ({"use_wsa": True, "ptms": SMALL_PTMS, "wsa_config": {"dropout_rate": 0.1}}, "dropout_rate must be 0"),
        ({"use_wsa": True, "wsa_config": ["embedding_dim"]}, "wsa_config must be a mapping"),
    ],
)
def test_bad_configurations_are_refused_before_training(kwargs, message):
    with pytest.raises(ValueError, match=message):
        make(**kwargs)


def test_spaces_that_do_not_fit_are_refused():
    world = PointTheWay()
    schedule = lambda _: 1e-3  # noqa: E731
    with pytest.raises(ValueError, match="needs a Dict observation"):
        HybridActorCritic(spaces.Box(-1, 1, (4,)), world.action_space, schedule)
    with pytest.raises(ValueError, match="5 parts but the graph has up to 12"):
        HybridActorCritic(world.observation_space, HybridBox([3], 1, 5), schedule)
    with pytest.raises(ValueError, match="needs a HybridBox"):
        HybridActorCritic(world.observation_space, spaces.Discrete(3), schedule)


def test_algorithms_of_another_family_say_why_they_cannot_have_it():
    world = DummyVecEnv([lambda: PointTheWay(per_node=False)])
    with pytest.raises(ValueError, match="HybridActorCritic has no memory, as RecurrentPPO needs it"):
        RecurrentPPO(HybridActorCritic, world, device="cpu")
    with pytest.raises(ValueError, match="HybridActorCritic has no target networks"):
        SAC(HybridActorCritic, world, device="cpu")


@pytest.mark.parametrize("name", ["features", "deepsets", "gnn", "wsa"])
def test_what_stands_in_the_padding_does_not_matter(name):
    policy = make(**VARIANTS[name]).policy
    perturb(policy)
    seen = observations(4)
    told = dict(seen, x=seen["x"].clone())
    told["x"][seen["node_mask"] == 0] = torch.nan
    with torch.no_grad():
        for one, other in zip(policy(seen, deterministic=True), policy(told, deterministic=True), strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("encoder", list(ENCODERS))
def test_graphs_without_nodes_have_a_value(encoder):
    policy = make(per_node=False, encoder=encoder).policy
    nothing = {key: torch.zeros_like(value) for key, value in observations(2, per_node=False).items()}
    actions, values, log_probs = policy(nothing)
    assert all(bool(said.isfinite().all()) for said in (actions, values, log_probs))


def test_a_mask_that_forbids_everything_is_named():
    policy = make(encoder="features").policy
    seen = observations(2)
    seen["action_mask"][0, :3] = 0
    with pytest.raises(ValueError, match="action_mask forbids every option of a choice"):
        policy(seen)


def test_crossq_is_told_that_it_cannot_train_it():
    """It takes any policy that has an actor, and asks the actor for an optimizer in its first update."""
    world = gym.make("rl_suite/DurotaxisRatio-v0")
    options = {"encoder": "features", "hidden_dim": 4}
    model = CrossQ(HybridActorCritic, world, learning_starts=2, buffer_size=10, batch_size=2, policy_kwargs=options)
    with pytest.raises(ValueError, match="no optimizer of its own, as CrossQ needs it; use PPO"):
        model.learn(4)


@pytest.mark.parametrize("value", [-1, 0])
def test_a_whole_number_is_a_log_std_too(value):
    world = gym.make("rl_suite/DurotaxisRatio-v0")
    policy = HybridActorCritic(
        world.observation_space, world.action_space, lambda _: 1e-3, encoder="features", log_std_init=value
    )
    assert all((each == value).all() for name, each in policy.named_parameters() if name.endswith("log_std"))


def test_a_negative_weight_of_the_entropy_is_refused():
    world = gym.make("rl_suite/DurotaxisRatio-v0")
    wsa = {"wsa_config": {"entropy_coef": -1.0}, "ptms": [{"model_type": "graph_cnn", "freeze": False}]}
    with pytest.raises(ValueError, match="entropy_coef must not be negative"):
        HybridActorCritic(
            world.observation_space, world.action_space, lambda _: 1e-3, encoder="features", use_wsa=True, **wsa
        )
