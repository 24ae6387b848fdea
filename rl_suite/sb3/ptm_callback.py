"""What pre-trained models do in a policy, step after step: joining and thawing, weights, costs, alarms, pictures.

Works for every SB3 policy with a ``MultiPTMFeatureExtractor`` inside, whoever trains it::

    model.learn(100_000, callback=AttentionCallback())
"""

import io
import logging
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image as PillowImage
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Image
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.common.utils import obs_as_tensor

from agents.actor_critic import HybridActorCritic
from agents.graph.batch import GraphBatch
from agents.graph.picture import graph_pictures
from agents.ptm.combiners import attention_entropy
from agents.ptm.weight_sharing import MultiPTMFeatureExtractor

COLLAPSED = 0.9  # mean weight of one model above which the others are as good as absent
DEAD = 1e-6  # spread of weights below which the scores say nothing
FRAMES = 6  # pictures of one episode
LONGEST_PICTURE = 1000  # steps of an episode that are drawn
OFF_POLICY_EVERY = 1000  # steps between measurements where a rollout is a step or an episode
COLOURS = matplotlib.colormaps["tab10"]

log = logging.getLogger(__name__)


def extractors_of(policy: BasePolicy) -> list[MultiPTMFeatureExtractor]:
    """Every extractor with pre-trained models in a policy: of actor, critic and target networks, actor first."""
    return [module for module in policy.modules() if isinstance(module, MultiPTMFeatureExtractor)]


def multi_ptm_of(policy: BasePolicy) -> MultiPTMFeatureExtractor | None:
    """The pre-trained models that choose the actions of a policy; None if it has none."""
    return next(iter(extractors_of(policy)), None)


@torch.no_grad()
def attention_of(policy: BasePolicy, observations: Any) -> NDArray[np.float64] | None:
    """Attention weights (rows, n) on a batch of raw observations; None for a combiner without attention."""
    tensors = obs_as_tensor(observations, policy.device)
    if isinstance(policy, HybridActorCritic):
        weights = policy.attention(tensors)
    else:
        prepared = preprocess_obs(tensors, policy.observation_space, normalize_images=policy.normalize_images)
        extractor = multi_ptm_of(policy)
        if extractor is None:
            raise ValueError("this policy has no pre-trained models")
        _, weights = extractor(prepared, return_attention=True)
    return None if weights is None else weights.cpu().double().numpy()


def attention_figures(weights: NDArray[np.float64], names: list[str]) -> dict[str, float]:
    """Scalars of attention weights (rows, n): mean weight and share of argmax per model, entropy, alarms."""
    entropy = attention_entropy(torch.from_numpy(weights)).numpy()
    winners = np.bincount(weights.argmax(axis=1), minlength=len(names)) / len(weights)
    spread = weights[:, weights.max(axis=0) > 0].std(axis=1)
    values = {"attention/entropy": float(entropy.mean())}
    for i, name in enumerate(names):
        values[f"attention/weight_{name}"] = float(weights[:, i].mean())
        values[f"attention/argmax_share_{name}"] = float(winners[i])
    several = (weights.max(axis=0) > 0).sum() > 1
    values["attention/alarm_collapse"] = float(several and weights.mean(axis=0).max() > COLLAPSED)
    values["attention/alarm_dead_logits"] = float(several and spread.max() < DEAD)
    return values


class AttentionCallback(BaseCallback):
    """Advance the curriculum of pre-trained models, and log what they do after every rollout.

    Args:
        sample: observations of each rollout on which attention is measured.
        images_every: steps between pictures of an episode; 0 = none. They show a graph or image, and beside it
            the weight of each model over the episode.
    """

    def __init__(self, sample: int = 256, images_every: int = 0):
        super().__init__()
        self.sample, self.images_every = sample, images_every

    def _on_training_start(self) -> None:
        self._extractors = extractors_of(self.model.policy)
        self._extractor = multi_ptm_of(self.model.policy)
        if self._extractor is None:
            raise ValueError(f"{type(self.model.policy).__name__} has no pre-trained models to watch")
        self._alarms: set[str] = set()
        self._next_measure = 0
        self._next_images = 0 if self.model.num_timesteps == 0 else self._images_after(self.model.num_timesteps)
        self._advance()
        for name, model in zip(self._extractor.names, self._extractor.models(), strict=True):
            self.logger.record(f"attention/parameters_{name}", model.n_parameters())

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        for extractor in self._extractors:
            extractor.forget()  # a run that is resumed here has no cache either, and must end with the same bits

    def _on_rollout_end(self) -> None:
        self._advance()
        seen = Seen.of(self.model)
        if isinstance(self.model, OffPolicyAlgorithm):  # its rollouts may be single steps
            if self.num_timesteps < self._next_measure:
                return
            self._next_measure = self.num_timesteps + OFF_POLICY_EVERY
        extractor = self._extractor
        assert extractor is not None
        for name, cost in zip(extractor.names, extractor.cost_ms, strict=True):
            self.logger.record(f"attention/cost_ms_{name}", cost)
        for name, model, on in zip(extractor.names, extractor.models(), extractor.active.tolist(), strict=True):
            if model.config.join_at:
                self.logger.record(f"attention/joined_{name}", float(on))
            if model.config.unfreeze_at is not None:
                self.logger.record(f"attention/trained_{name}", float(not model.frozen))
        rng = np.random.default_rng(self.num_timesteps)
        count = min(self.sample, seen.n_steps * seen.n_envs)
        rows = rng.choice(seen.n_steps * seen.n_envs, size=count, replace=False)
        steps, copies = np.unravel_index(np.sort(rows), (seen.n_steps, seen.n_envs))
        weights = attention_of(self.model.policy, _pick(seen.observations, (steps, copies)))
        if weights is None:
            return
        values = attention_figures(weights, extractor.names)
        for key, value in values.items():
            self.logger.record(key, value)
        self._warn(values)
        if self.images_every and self.num_timesteps >= self._next_images:
            self._next_images = self._images_after(self.num_timesteps)
            self.logger.record(
                "attention/episode", Image(self._picture(seen), "HWC"), exclude=("stdout", "json", "csv")
            )

    def _images_after(self, step: int) -> int:
        return (step // self.images_every + 1) * self.images_every if self.images_every else 0

    def _advance(self) -> None:
        events = [event for extractor in self._extractors for event in extractor.advance(self.model.num_timesteps)]
        for event in dict.fromkeys(events):  # actor and critic may have models of their own
            log.info("step %d: %s", self.model.num_timesteps, event)

    def _warn(self, values: dict[str, float]) -> None:
        """Say it once when an alarm goes off; the curves have it at every rollout."""
        for key, text in (
            ("attention/alarm_collapse", "one pre-trained model has over 90 % of the attention"),
            ("attention/alarm_dead_logits", "all pre-trained models have exactly the same weight"),
        ):
            if values[key] and key not in self._alarms:
                log.warning("step %d: %s", self.num_timesteps, text)
                self._alarms.add(key)

    def _picture(self, seen: "Seen") -> NDArray[np.uint8]:
        """The first episode of the first environment in the buffer."""
        first = int(seen.starts[0]) if len(seen.starts) else 0
        last = int(seen.starts[1]) if len(seen.starts) > 1 else seen.n_steps
        last = min(last, first + LONGEST_PICTURE)
        observations = _pick(seen.observations, (np.arange(first, last), 0))
        weights = [
            attention_of(self.model.policy, _pick(observations, np.array([t]))) for t in range(last - first)
        ]  # one by one: with a context per node there are several rows per step
        means = np.array([w.mean(axis=0) for w in weights if w is not None])
        extractor = self._extractor
        assert extractor is not None
        shown = np.unique(np.linspace(0, last - first - 1, FRAMES).round().astype(int))
        return draw_episode(_pictures(self.model.policy, observations, shown), shown, means, extractor.names)


@dataclass(frozen=True)
class Seen:
    """Observations that an algorithm has in its buffer, arrays (n_steps, n_envs, ...), with the starts of episodes."""

    observations: Any
    n_steps: int
    n_envs: int
    starts: NDArray[np.int64]  # steps at which an episode of the first environment starts

    @staticmethod
    def of(model: BaseAlgorithm) -> "Seen":
        """From the rollout of PPO, A2C or TRPO, or from the replay buffer of DQN, SAC or TD3."""
        buffer: Any = getattr(model, "rollout_buffer", None)
        if buffer is not None:
            return Seen(
                buffer.observations, buffer.buffer_size, buffer.n_envs, np.flatnonzero(buffer.episode_starts[:, 0])
            )
        buffer = model.replay_buffer  # type: ignore[attr-defined]
        n_steps = buffer.buffer_size if buffer.full else buffer.pos
        starts = np.flatnonzero(buffer.dones[: n_steps - 1, 0]) + 1
        return Seen(buffer.observations, n_steps, buffer.n_envs, starts)


def draw_episode(
    frames: NDArray[np.float64], shown: NDArray[np.int64], weights: NDArray[np.float64], names: list[str]
) -> NDArray[np.uint8]:
    """Frames (F, H, W, 3) in [0, 1] of steps ``shown`` above the weights (T, n) of all steps; an image (H', W', 3)."""
    figure = Figure(figsize=(4.8, 3.2), layout="constrained")  # small, so that it can be read on TensorBoard's cards
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, len(shown), height_ratios=[1, 2])
    for column, (frame, step) in enumerate(zip(frames, shown, strict=True)):
        axes = figure.add_subplot(grid[0, column])
        axes.imshow(frame, interpolation="nearest")
        axes.set_title(f"step {step}", fontsize=8)
        axes.set_axis_off()
    axes = figure.add_subplot(grid[1, :])
    bottom = np.zeros(len(weights))
    for i, name in enumerate(names):
        axes.bar(np.arange(len(weights)), weights[:, i], 1.0, bottom, color=COLOURS(i), label=name)
        bottom += weights[:, i]
    axes.set_xlim(-0.5, len(weights) - 0.5)
    axes.set_ylim(0, 1)
    axes.set_xlabel("step of the episode")
    axes.set_ylabel("attention weight")
    figure.legend(loc="outside lower center", ncols=3, fontsize=8, columnspacing=1.0, handlelength=1.0)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=200)
    return np.asarray(PillowImage.open(stream).convert("RGB"))


def _pick(observations: Any, index: Any) -> Any:
    """Rows of an array of observations, or of each array in a Dict."""
    if isinstance(observations, dict):
        return {key: value[index] for key, value in observations.items()}
    return observations[index]


def _pictures(policy: BasePolicy, observations: Any, shown: NDArray[np.int64]) -> NDArray[np.float64]:
    """What the models saw at some steps, (F, H, W, 3) in [0, 1]."""
    tensors: Any = obs_as_tensor(_pick(observations, shown), policy.device)
    if isinstance(policy, HybridActorCritic):
        images = graph_pictures(GraphBatch(tensors))
    else:
        extractor = multi_ptm_of(policy)
        assert extractor is not None
        prepared: Any = preprocess_obs(tensors, policy.observation_space, normalize_images=policy.normalize_images)
        images = extractor.inputs(prepared)[0]
    colours = images[:, :3] if images.shape[1] >= 3 else images[:, :1].expand(-1, 3, -1, -1)
    return colours.clamp(0.0, 1.0).permute(0, 2, 3, 1).cpu().double().numpy()
