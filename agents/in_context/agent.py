"""The in-context model at work: ``predict`` for B environments, with a memory that may be compressed.

A *trial* is several episodes on one task. The agent's memory spans a trial; it is what learns.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from agents.in_context.model import InContextModel, Steps
from agents.in_context.transformer import KeyValueMemory, TokenMemory, merge_shares
from agents.protocol import AgentState, Observation

Mode = Literal["ring", "re_encode"]
MODES: tuple[Mode, ...] = ("ring", "re_encode")

RECENT_QUERIES = 8  # attention rows that are remembered for strategies that pool over them


@dataclass
class SlotNotes:
    """What is known of each remembered token, for choosing which to keep; kept in step with the memory's slots."""

    index: Tensor  # (B, W) true step index, -1 = free; the memory's own array
    attention: Tensor  # (RECENT_QUERIES, B, W) weights of the last queries, newest at ``newest``; mean of layers, heads
    mass: Tensor  # (B, W) attention received in total since the token was stored
    reward: Tensor  # (B, W) reward that came with the token
    token: Tensor  # (B, W, D) embedded token
    sizes: Tensor  # (B, W) tokens that were merged into each; the memory's own array
    newest: int = 0

    @classmethod
    def empty(cls, tokens: KeyValueMemory | TokenMemory, width: int) -> "SlotNotes":
        """Notes on the empty slots of a memory."""
        index = tokens.index
        zeros = torch.zeros(index.shape, device=index.device)
        recent = zeros.new_zeros(RECENT_QUERIES, *index.shape)
        return cls(index, recent, zeros.clone(), zeros.clone(), zeros.new_zeros(*index.shape, width), tokens.sizes)

    @property
    def last(self) -> Tensor:
        """(B, W) weights of the last query."""
        return self.attention[self.newest]

    def write(self, slots: Tensor, token: Tensor, reward: Tensor, weights: Tensor) -> None:
        """A token came into ``slots`` (B,), and looked at the slots with ``weights`` (B, used)."""
        rows = torch.arange(len(slots), device=slots.device)
        self.token[rows, slots], self.reward[rows, slots], self.mass[rows, slots] = token, reward, 0.0
        self.attention[:, rows, slots] = 0.0
        self.newest = (self.newest + 1) % RECENT_QUERIES
        used = weights.shape[1]
        self.attention[self.newest] = 0.0
        self.attention[self.newest, :, :used] = weights
        self.mass[:, :used] += weights

    def keep(self, slots: Tensor, rows: Tensor, joins: Tensor | None) -> None:
        """Go along with the memory's ``keep``, before it: means of tokens and rewards, sums of attention."""
        k, every = slots.shape[1], rows[:, None]
        if joins is None:
            for array in (self.mass, self.reward, self.token):
                array[rows, :k] = array[every, slots]
            self.attention[:, rows, :k] = self.attention[:, every, slots]
            return
        shares, _ = merge_shares(joins, self.sizes[rows], k)
        self.token[rows, :k] = shares.transpose(1, 2) @ self.token[rows]
        self.reward[rows, :k] = torch.einsum("nij,ni->nj", shares, self.reward[rows])
        together = F.one_hot(joins, k).float()
        self.mass[rows, :k] = torch.einsum("nij,ni->nj", together, self.mass[rows])
        self.attention[:, rows, :k] = torch.einsum("nij,qni->qnj", together, self.attention[:, rows])


Compressor = Callable[[SlotNotes, Tensor], tuple[Tensor, Tensor | None]]
"""Called with the notes and the environments (n,) whose memory is full; returns the slots to keep (n, k), and, to
merge the others into them, the place among the k into which each slot goes (n, W); see ``KeyValueMemory.keep``."""


@dataclass
class TrialMemory:
    """All that an agent carries through a trial."""

    tokens: KeyValueMemory | TokenMemory
    notes: SlotNotes | None
    observation: Tensor  # (B, n) previous observation
    action: Tensor  # (B,) previous action
    rewarded: Tensor  # (B,) rewarded steps of the present episode
    episode: Tensor  # (B,) episodes of the trial that have ended
    attention: Tensor = field(default_factory=lambda: torch.zeros(0))
    """(layers, B, H, slots) weights of the last step."""


class InContextAgent:
    """Acts with an :class:`~agents.in_context.model.InContextModel`; has SB3's ``predict``.

    Args:
        model: the trained model.
        window: tokens that are remembered (``context_length``).
        temperature: divides the logits before sampling; below 1 bolder, above 1 more random.
        mode: "ring" keeps keys and values (fast; evicted tokens live on in deeper layers), "re_encode" runs the
            remembered tokens through the model at every step.
        seed: of the sampled actions.
        compressor: chooses what to keep when the memory is full; None drops the oldest token.
    """

    def __init__(
        self,
        model: InContextModel,
        window: int,
        temperature: float = 1.0,
        mode: Mode = "ring",
        seed: int = 0,
        compressor: Compressor | None = None,
    ):
        if mode not in MODES:
            raise ValueError(f"mode must be one of {MODES}, not {mode!r}")
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, not {temperature}; for the best action use deterministic")
        self.model, self.window, self.temperature, self.mode = model.eval(), window, temperature, mode
        self.compressor, self.device = compressor, model.head.weight.device
        self.generator = torch.Generator(self.device).manual_seed(seed)

    def begin(self, n_envs: int) -> TrialMemory:
        """An empty memory for ``n_envs`` trials."""
        transformer, n_seen = self.model.transformer, self.model.encoder.n_seen
        tokens: KeyValueMemory | TokenMemory
        if self.mode == "ring":
            tokens = transformer.memory(n_envs, self.window)
        else:
            tokens = TokenMemory(n_envs, self.window, transformer.width, self.device)
        notes = SlotNotes.empty(tokens, transformer.width) if self.compressor is not None else None
        nothing = torch.zeros(n_envs, dtype=torch.long, device=self.device)
        observation = torch.zeros(n_envs, n_seen, device=self.device)
        return TrialMemory(tokens, notes, observation, nothing + self.model.n_actions, nothing.clone(), nothing.clone())

    @torch.no_grad()
    def logits(self, memory: TrialMemory, observation: Tensor, reward: Tensor, first: Tensor, new: Tensor) -> Tensor:
        """Read one step of every environment and say what to do.

        Args:
            memory: of the trials; changed in place.
            observation: (B, n) what is seen now.
            reward: (B,) what the previous action earned.
            first: (B,) bool, the first step of an episode.
            new: (B,) bool, the first step of a trial: the memory of that row is forgotten.

        Returns:
            (B, A).
        """
        if bool(new.any()):
            memory.tokens.reset(new)
            memory.action[new] = self.model.n_actions
            reward = reward.masked_fill(new, 0.0)
        memory.rewarded = (memory.rewarded + (reward != 0)).masked_fill(first | new, 0)
        memory.episode = (memory.episode + first.long()).masked_fill(new, 0)
        if self.model.layout == "history":
            steps = Steps(observation, memory.action, reward, first | new, memory.rewarded, memory.episode)
            out = self._read(memory, self.model.encoder(steps), reward)
        else:
            out = self._ask(memory, observation, reward, new)
        memory.observation = observation.float()
        return self.model.head(out)  # type: ignore[no-any-return]

    def act(
        self,
        memory: TrialMemory,
        observation: NDArray[Any],
        reward: NDArray[Any],
        first: NDArray[np.bool_],
        new: NDArray[np.bool_],
        deterministic: bool = False,
    ) -> NDArray[np.int64]:
        """Actions (B,) for arrays as in :meth:`logits`; remembers them as the previous actions."""
        n_envs = len(reward)
        seen = torch.as_tensor(observation, device=self.device).reshape(n_envs, -1)[:, : self.model.encoder.n_seen]
        earned = torch.as_tensor(reward, dtype=torch.float32, device=self.device)
        flags = (torch.as_tensor(flag, dtype=torch.bool, device=self.device) for flag in (first, new))
        logits = self.logits(memory, seen, earned, *flags)
        if deterministic:
            memory.action = logits.argmax(-1)
        else:
            # argmax of logits plus Gumbel noise is a sample of their softmax (Gumbel 1954)
            noise = torch.rand(logits.shape, generator=self.generator, device=self.device).clamp(1e-10, 1 - 1e-7)
            memory.action = (logits / self.temperature - torch.log(-torch.log(noise))).argmax(-1)
        return memory.action.cpu().numpy()

    def predict(
        self,
        observation: Observation,
        state: AgentState = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], AgentState]:
        """Act in B trials (:class:`~agents.protocol.Agent`), which show what happened before.

        Args:
            observation: ``observation`` (B, ...), ``previous_action`` (B,), ``previous_reward`` (B, 1) and
                ``previous_done`` (B, 1), as the worlds ``...Trial-v0`` show them.
            state: the trials' memory, None at first.
            episode_start: (B,) True where a new trial begins (a trial is what the outer world calls an episode).
            deterministic: take the best action instead of sampling.
        """
        if not isinstance(observation, dict) or "previous_reward" not in observation:
            raise ValueError("the in-context agent needs to see what happened before: play a world named ...Trial-v0")
        reward = np.asarray(observation["previous_reward"]).reshape(-1)
        done = np.asarray(observation["previous_done"]).reshape(-1).astype(np.bool_)
        n_envs = len(reward)
        memory = self.begin(n_envs) if state is None else state[0]
        new = np.zeros(n_envs, dtype=np.bool_) if episode_start is None else np.asarray(episode_start, dtype=np.bool_)
        if state is None:
            new = np.ones(n_envs, dtype=np.bool_)
        memory.action = torch.as_tensor(observation["previous_action"], device=self.device).long().reshape(n_envs)
        actions = self.act(memory, observation["observation"], reward, done, new, deterministic)
        return actions, (memory,)

    def _read(self, memory: TrialMemory, token: Tensor, reward: Tensor, store: bool = True) -> Tensor:
        if store and memory.notes is not None and self.compressor is not None:
            full = (memory.tokens.count == self.window).nonzero()[:, 0]
            if len(full):
                slots, joins = self.compressor(memory.notes, full)
                memory.notes.keep(slots, full, joins)
                memory.tokens.keep(slots, full, joins)
        if isinstance(memory.tokens, KeyValueMemory):
            slots = memory.tokens.cursor
            out, memory.attention = self.model.transformer.step(token, memory.tokens, store)
        else:
            out, memory.attention = self.model.transformer.step_again(token, memory.tokens, store)
            slots = memory.tokens.count - 1
        if store and memory.notes is not None:
            memory.notes.write(slots, token, reward, memory.attention.mean(dim=(0, 2)))
        return out

    def _ask(self, memory: TrialMemory, observation: Tensor, reward: Tensor, new: Tensor) -> Tensor:
        """Store the transition that ended, then put the question: what to do here?"""
        nothing = torch.zeros_like(memory.action)
        steps = Steps(memory.observation, memory.action, reward, nothing.bool(), nothing, nothing)
        self._read(memory, self.model.encoder(steps), reward)
        if bool(new.any()):
            memory.tokens.reset(new)  # there was no transition before a trial's first step
        return self._read(memory, self.model.encoder.ask(observation), reward, store=False)
