"""Speed of Algorithm Distillation: sources, training, acting and capturing attention, against the usual ways."""

from collections.abc import Callable

import numpy as np
import torch
from stable_baselines3 import PPO
from torch import Tensor, nn
from torch.nn import functional as F

from agents.in_context.agent import InContextAgent
from agents.in_context.model import InContextModel, Steps, action_loss
from agents.tabular import QLearning
from rl_suite.benchmarks.harness import BenchmarkResult, Options, Row
from rl_suite.benchmarks.timing import interleave
from rl_suite.distillation.sources.rollout import roll_out
from rl_suite.distillation.sources.sources import TabularSource
from rl_suite.distillation.worlds import TaskFamily
from rl_suite.vec_env import make_vec_env

SUMMARY = "sources against PPO, training against nn.TransformerEncoder, cached acting against re-running the window"

WINDOW, WIDTH, LAYERS, HEADS, FEEDFORWARD, ACTIONS = 240, 64, 4, 4, 256, 5
BATCH, ENVS, COPIES, EPISODES = 32, 64, 4096, 10
DARK_ROOM = "rl_suite/DarkRoom-v0"


def run(options: Options) -> BenchmarkResult:
    """All four comparisons."""
    torch.manual_seed(options.seed)
    rows = [source_row(options), training_row(options), acting_row(options), capture_row(options)]
    notes = (
        f"model: {LAYERS} layers, width {WIDTH}, window {WINDOW}, batch {BATCH}; the peer's encoder is post-norm with",
        "dropout and a float mask and reads one token per transition, as common implementations do",
        "PPO: 20 epochs of batches of 40, as the published collection of histories has it",
    )
    return BenchmarkResult(tuple(rows), notes)


def source_row(options: Options) -> Row:
    """Transitions of source histories per second: vectorised Q-learning against PPO."""
    family = TaskFamily.named(DARK_ROOM, {})
    copies, episodes = (64, 2) if options.quick else (COPIES, EPISODES)
    n_ppo = 100 * 80

    def tabular() -> None:
        rng = np.random.default_rng(options.seed)
        world = family.make(copies, "train")
        learner = QLearning(world.observation_space, world.action_space, seed=options.seed)
        source = TabularSource(learner, copies)
        roll_out(world, source, family.tasks("train").choose(rng, copies), episodes, family.episode_steps, rng)

    def ppo() -> None:
        env = make_vec_env(DARK_ROOM, 100, tasks=[0])
        epochs = 1 if options.quick else 20
        PPO("MlpPolicy", env, n_steps=80, batch_size=40, n_epochs=epochs, seed=options.seed, device="cpu").learn(n_ppo)

    ours = interleave({"ours": tabular}, options.repeats)["ours"].rate(copies * episodes * family.episode_steps)
    peer = interleave({"peer": ppo}, 1, warm_up=0)["peer"].rate(n_ppo)
    return Row("source histories", ours, peer, "transitions/CPU-s", "SB3 PPO, 100 copies", target=1000)


class PlainEncoder(nn.Module):
    """The usual layout: raw transitions through one linear layer into nn.TransformerEncoder."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(2 + ACTIONS + 1 + 2, WIDTH)
        self.positions = nn.Parameter(torch.zeros(WINDOW, WIDTH))
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, FEEDFORWARD, 0.1, "gelu", batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, ACTIONS)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, T, A) of raw transitions (B, T, 10)."""
        length = x.shape[1]
        mask = torch.full((length, length), -torch.inf).triu(1)
        return self.head(self.encoder(self.embed(x) + self.positions[:length], mask))  # type: ignore[no-any-return]


def make_model() -> InContextModel:
    """Ours, of the same size."""
    world = TaskFamily.named(DARK_ROOM, {}).make(1, "train")
    spaces = world.observation_space, world.action_space
    return InContextModel(*spaces, width=WIDTH, n_layers=LAYERS, n_heads=HEADS, feedforward=FEEDFORWARD)


def make_steps(n: int, length: int) -> Steps:
    """Random steps."""
    return Steps(
        torch.randint(9, (n, length, 2)),
        torch.randint(ACTIONS, (n, length)),
        torch.randint(2, (n, length)).float(),
        torch.zeros(n, length, dtype=torch.bool),
        *torch.zeros(2, n, length, dtype=torch.long),
    )


def training_row(options: Options) -> Row:
    """Transitions per second of one optimizer step."""
    batch = 2 if options.quick else BATCH
    ours, peer = make_model(), PlainEncoder()
    steps, labels = make_steps(batch, WINDOW), torch.randint(ACTIONS, (batch, WINDOW))
    raw = torch.randn(batch, WINDOW, 10)
    optimizers = [torch.optim.AdamW(model.parameters(), lr=1e-3, fused=model is ours) for model in (ours, peer)]

    def train_ours() -> None:
        optimizers[0].zero_grad()
        action_loss(ours(steps)[0], labels)[0].backward()  # type: ignore[no-untyped-call]
        optimizers[0].step()

    def train_peer() -> None:
        optimizers[1].zero_grad()
        F.cross_entropy(peer(raw)[:, -1], labels[:, -1]).backward()  # type: ignore[no-untyped-call]
        optimizers[1].step()

    timings = interleave({"ours": train_ours, "peer": train_peer}, options.repeats)
    rates = [timings[name].rate(batch * WINDOW) for name in ("ours", "peer")]
    return Row("training", rates[0], rates[1], "transitions/CPU-s", "nn.TransformerEncoder", target=2)


def acting_row(options: Options) -> Row:
    """Environment steps per second with a full window."""
    n_envs = 4 if options.quick else ENVS
    agent, peer = InContextAgent(make_model(), WINDOW), PlainEncoder().eval()
    memory = agent.begin(n_envs)
    rng = np.random.default_rng(options.seed)
    flags = np.zeros(n_envs, dtype=np.bool_)
    raw = torch.randn(n_envs, WINDOW, 10)

    def act() -> None:
        agent.act(memory, rng.integers(9, size=(n_envs, 2)), np.zeros(n_envs), flags, flags)

    def rerun() -> None:
        with torch.no_grad():
            peer(raw)[:, -1].argmax(-1)

    for _ in range(WINDOW):
        act()
    timings = {"ours": _per_call(act, 20, options), "peer": _per_call(rerun, 1, options)}
    rates = [n_envs / timings[name] for name in ("ours", "peer")]
    return Row(f"acting, {n_envs} environments", rates[0], rates[1], "steps/CPU-s", "re-running the window", target=100)


def capture_row(options: Options) -> Row:
    """Time of a forward pass with the last attention row of every layer and head, against one without."""
    model, steps = make_model().eval(), make_steps(2 if options.quick else BATCH, WINDOW)

    def forward(capture: bool) -> Callable[[], None]:
        def work() -> None:
            with torch.no_grad():
                model(steps, capture="last" if capture else "none")

        return work

    timings = interleave({"with": forward(True), "without": forward(False)}, 2 * options.repeats)
    milliseconds = [1e3 * timings[name].cpu for name in ("with", "without")]
    row = "capturing the last attention row"
    return Row(row, milliseconds[0], milliseconds[1], "ms", "no capture", higher_is_better=False, target=1 / 1.1)


def _per_call(work: Callable[[], None], calls: int, options: Options) -> float:
    def several() -> None:
        for _ in range(calls):
            work()

    return interleave({"work": several}, options.repeats)["work"].cpu / calls
