"""How many steps a second stock PPO makes in the durotaxis world, by encoder; and one look of three models."""

import functools
import time
from typing import Any

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.utils import obs_as_tensor

from agents.actor_critic import HybridActorCritic
from agents.graph.batch import GraphBatch
from agents.graph.picture import graph_pictures
from agents.ptm.weight_sharing import MultiPTMFeatureExtractor
from rl_suite.benchmarks.harness import BenchmarkResult, Options, Row
from rl_suite.benchmarks.timing import interleave
from rl_suite.vec_env import make_vec_env

SUMMARY = "steps per second of PPO end to end by encoder, and attention over three frozen models"
EARLIER_STEPS = 4.4  # of the earlier system, per second (its own measurement)
EARLIER_LOOK_MS = 90.0  # of its attention over three models, per graph
# encoder, hidden_dim, steps per second that were promised
ENCODERS = (("features", 32, 15_000), ("deepsets", 32, 3_000), ("gnn", 32, 500))
WORLD: dict[str, Any] = {"action_mode": "delete_ratio", "max_nodes": 64}  # as in the experiments
STEADY = {"log_std_init": -3.5}  # nearly the same action always
HALF = 0.018  # mean of the ratio before squashing: half of the nodes, rounded down, are deleted and the others double
MODELS = tuple({"model_type": name, "freeze": True} for name in ("resnet18_random", "graph_cnn", "resnet18_random"))


def run(options: Options) -> BenchmarkResult:
    """Time PPO with each encoder, and 256 graphs seen by three frozen models whose embeddings are cached."""
    torch.set_num_threads(1)
    steps = 2_048 if options.quick else 4_096  # short turns: one of them will be left in peace by other processes
    rows, nodes = [], []
    for encoder, hidden, promised in ENCODERS:
        model = _ppo(encoder, hidden, options.seed)
        model.learn(2_048)
        timings = interleave(
            {encoder: functools.partial(model.learn, steps, reset_num_timesteps=False)},
            1 if options.quick else options.repeats,
            warm_up=0,
        )
        nodes.append(float(model.rollout_buffer.observations["num_nodes"].mean()))  # type: ignore[attr-defined]
        rows.append(
            Row(
                name=f"PPO, {encoder} (h = {hidden})",
                ours=timings[encoder].rate(steps),
                peer=EARLIER_STEPS,
                unit="steps/s",
                peer_name="the earlier system",
                target=promised / EARLIER_STEPS,
            )
        )
    rows.append(_look(options))
    notes = (
        f"{steps} steps a turn of 64 colonies, delete_ratio actions, at most 64 nodes shown, n_steps 32, "
        "batches of 512, 4 epochs; one thread",
        f"colonies of {min(nodes):.0f} to {max(nodes):.0f} nodes on average: the policy deletes half and hardly "
        "learns, since colonies that die or that learn become smaller, hence faster",
        "the peer's figures are those of its own measurement, not of this run",
    )
    return BenchmarkResult(tuple(rows), notes)


def _ppo(encoder: str, hidden: int, seed: int) -> PPO:
    env = make_vec_env("rl_suite/Durotaxis-v0", 64, **WORLD)
    model = PPO(
        HybridActorCritic,
        env,
        learning_rate=1e-12,
        n_steps=32,
        batch_size=512,
        n_epochs=4,
        policy_kwargs={"encoder": encoder, "hidden_dim": hidden, **STEADY},
        seed=seed,
        device="cpu",
    )
    policy: Any = model.policy
    with torch.no_grad():
        policy.actor.heads.head.bias[0] = HALF
    return model


def _look(options: Options) -> Row:
    env = make_vec_env("rl_suite/Durotaxis-v0", 256, **WORLD)
    env.seed(options.seed)
    batch = GraphBatch(obs_as_tensor(env.reset(), "cpu"))  # type: ignore[arg-type]
    extractor = MultiPTMFeatureExtractor(env.observation_space, ptms=MODELS)
    extractor.eval()

    def look() -> None:
        with torch.no_grad():
            extractor.look(graph_pictures(batch), batch.graph)

    start = time.process_time()
    look()
    first = time.process_time() - start
    fastest = interleave({"look": look}, options.repeats)["look"].cpu
    return Row(
        name=f"attention over 3 models, cached (first look: {1e3 * first / 256:.3g} ms)",
        ours=1e3 * fastest / 256,
        peer=EARLIER_LOOK_MS,
        unit="ms/graph",
        peer_name="the earlier system",
        higher_is_better=False,
        target=900.0,
    )
