"""Algorithm Distillation's agent: a transformer that learns while it acts, without a change of weights.

Laskin et al. 2022, "In-context Reinforcement Learning with Algorithm Distillation", arXiv:2210.14215. One token
per step: what is seen now, and the action and reward that led here; the action is predicted at every token.
The variant ``layout="decisions"`` follows Lee et al. 2023 (Decision-Pretrained Transformer, arXiv:2306.14892):
the context is a set of transitions, and the present observation is a question put to it.
"""

from typing import Literal, NamedTuple

import torch
from gymnasium import spaces
from torch import Tensor, nn
from torch.nn import functional as F

from agents.in_context.transformer import Capture, CausalTransformer, Positions

Layout = Literal["history", "decisions"]

REWARD_COUNTS = 4  # the number of rewarded steps of the episode is told as 0, 1, 2 or "3 and more"


class Steps(NamedTuple):
    """What an agent knows at each step, with any leading axes (..., that is B or B, T).

    In a transition (``layout="decisions"``), ``action`` and ``reward`` are those taken at ``observation``.
    """

    observation: Tensor  # (..., n) whole numbers or reals; (..., 0) where nothing is seen
    action: Tensor  # (...) previous action; n_actions where there is none
    reward: Tensor  # (...) previous reward, 0 where there is none
    first: Tensor  # (...) bool, True at the first step of an episode
    rewarded: Tensor  # (...) rewards other than 0 that this episode brought before now
    episode: Tensor  # (...) episodes of this trial that have ended

    def at(self, key: object) -> "Steps":
        """The same fields, indexed alike."""
        return Steps(*(field[key] for field in self))  # type: ignore[index]


class StepEncoder(nn.Module):
    """Embeds :class:`Steps` as tokens (..., D).

    Each discrete part of the observation has a table of its own and the vectors are added: a row and a column seen
    apart in training are understood when they are met together. Action and reward share a table (a vector per action,
    plus the reward times another vector per action), because "arm 3 paid" is more than "arm 3" and "it paid".
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        width: int,
        layout: Layout,
        count_rewards: bool,
        count_episodes: int,
    ):
        super().__init__()
        if not isinstance(action_space, spaces.Discrete) or action_space.start != 0:
            raise ValueError(f"the in-context agent needs Discrete actions from 0, not {action_space}")
        self.n_actions, self.layout = int(action_space.n), layout
        self.sizes = discrete_sizes(observation_space)
        self.n_seen = len(self.sizes) if self.sizes is not None else spaces.flatdim(observation_space)
        if self.sizes is None:
            self.see: nn.Module = nn.Linear(self.n_seen, width)
        else:
            self.see = nn.Embedding(max(1, sum(self.sizes)), width)
            offsets = torch.tensor([sum(self.sizes[:i]) for i in range(len(self.sizes))], dtype=torch.long)
            self.register_buffer("offsets", offsets, persistent=False)
        self.did = nn.Embedding(self.n_actions + 1, width)
        self.earned = nn.Embedding(self.n_actions + 1, width)
        self.started = nn.Parameter(torch.zeros(width))
        self.count = nn.Embedding(REWARD_COUNTS, width) if count_rewards else None
        self.which = nn.Embedding(count_episodes, width) if count_episodes else None
        self.question = nn.Parameter(torch.zeros(width))
        for name, parameter in self.named_parameters():
            if name.endswith("weight"):
                nn.init.normal_(parameter, std=0.05)

    def observe(self, observation: Tensor) -> Tensor:
        """Embed observations (..., n) alone: (..., D)."""
        if self.sizes is None:
            seen: Tensor = self.see(observation.float())
        else:
            assert isinstance(self.offsets, Tensor)
            seen = self.see(observation.long() + self.offsets).sum(-2)
        return seen

    def ask(self, observation: Tensor) -> Tensor:
        """A question (``layout="decisions"``): what to do at these observations (..., n)."""
        return self.observe(observation) + self.question

    def forward(self, steps: Steps) -> Tensor:
        """Tokens (..., D)."""
        action = steps.action.long()
        token: Tensor = self.observe(steps.observation) + self.did(action)
        token = token + steps.reward.float()[..., None] * self.earned(action)
        if self.layout == "decisions":
            return token  # a set of transitions knows no episodes
        token = token + steps.first[..., None] * self.started
        if self.count is not None:
            token = token + self.count(steps.rewarded.long().clamp(max=REWARD_COUNTS - 1))
        if self.which is not None:
            token = token + self.which(steps.episode.long().clamp(max=self.which.num_embeddings - 1))
        return token


def discrete_sizes(space: spaces.Space) -> tuple[int, ...] | None:
    """Number of values of each discrete part; () where a space has one value only; None for real vectors."""
    if isinstance(space, spaces.Discrete) and space.start == 0:
        return () if space.n == 1 else (int(space.n),)
    if isinstance(space, spaces.MultiDiscrete) and not space.start.any():
        return tuple(int(n) for n in space.nvec.ravel())
    if isinstance(space, spaces.Box) and len(space.shape) == 1:
        return None
    raise ValueError(
        f"the in-context agent reads Discrete and MultiDiscrete (from 0) or flat Box observations, not {space}"
    )


class InContextModel(nn.Module):
    """Encoder, causal transformer and action head, shaped by the spaces of an environment.

    Args:
        observation_space: ``Discrete``, ``MultiDiscrete`` or a flat ``Box``.
        action_space: ``Discrete``.
        width, n_layers, n_heads, feedforward, positions: see :class:`~agents.in_context.transformer.CausalTransformer`.
        layout: "history" (Algorithm Distillation) or "decisions" (DPT: unordered context, so positions="none").
        count_rewards: tell at each step how often this episode was rewarded; a hidden state such as "has the key"
            follows from it.
        count_episodes: tell at each step which episode of the trial it is, up to this many (0: do not); a plan for
            searching a large room can be followed by it.
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        width: int = 64,
        n_layers: int = 3,
        n_heads: int = 4,
        feedforward: int = 256,
        positions: Positions = "rotary",
        layout: Layout = "history",
        count_rewards: bool = False,
        count_episodes: int = 0,
    ):
        super().__init__()
        if layout == "decisions" and positions != "none":
            raise ValueError('layout="decisions" reads an unordered context: it needs positions="none"')
        self.encoder = StepEncoder(observation_space, action_space, width, layout, count_rewards, count_episodes)
        self.transformer = CausalTransformer(width, n_layers, n_heads, feedforward, positions)
        self.head = nn.Linear(width, self.encoder.n_actions)
        nn.init.zeros_(self.head.bias)
        nn.init.normal_(self.head.weight, std=0.02)
        self.layout = layout

    @property
    def n_actions(self) -> int:
        """Number of actions."""
        return self.encoder.n_actions

    def forward(
        self, steps: Steps, capture: Capture = "none", rows: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Action logits (B, T, A) at every step of sequences (B, T), and captured attention weights per layer.

        In the layout "decisions" the keys of a captured row are T transitions followed by T questions; a question
        sees the transitions before it and itself, and the rows are those of the questions.
        """
        if self.layout == "history":
            out, captured = self.transformer(self.encoder(steps), capture=capture, rows=rows)
            return self.head(out), captured
        length = steps.action.shape[1]
        tokens = torch.cat([self.encoder(steps), self.encoder.ask(steps.observation)], dim=1)  # (B, 2T, D)
        if capture == "rows" and rows is not None:
            rows = rows + length
        mask = decision_mask(length).to(tokens.device)
        out, captured = self.transformer(tokens, mask=mask, capture=capture, rows=rows)
        return self.head(out[:, length:]), captured


def decision_mask(length: int) -> Tensor:
    """(2T, 2T) True where a row may look: transitions at themselves and earlier ones, questions at earlier ones.

    >>> decision_mask(2).int().tolist()
    [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 1]]
    """
    earlier = torch.ones(length, length).tril()
    nothing, itself = torch.zeros(length, length), torch.eye(length)
    return torch.cat([torch.cat([earlier, nothing], 1), torch.cat([earlier - itself, itself], 1)]).bool()


def action_loss(logits: Tensor, labels: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Cross-entropy and accuracy of actions, averaged over the labelled steps.

    Args:
        logits: (B, T, A).
        labels: (B, T) whole numbers, -1 where a step has no label; or (B, T, A) probabilities (soft labels), zeros
            where a step has none.
        mask: (B, T) True where a step counts; all do by default.

    >>> logits = torch.tensor([[[0.0, 0.0], [9.0, 0.0]]])
    >>> loss, accuracy = action_loss(logits, torch.tensor([[1, -1]]))
    >>> round(loss.item(), 4), accuracy.item()
    (0.6931, 0.0)
    """
    counted = torch.ones(logits.shape[:-1], dtype=torch.bool, device=logits.device) if mask is None else mask
    if labels.ndim == logits.ndim:
        counted = counted & (labels > 0).any(-1)
        losses = -(labels * F.log_softmax(logits.float(), -1)).sum(-1)
        right = logits.argmax(-1) == labels.argmax(-1)
    else:
        counted = counted & (labels >= 0)
        flat = F.cross_entropy(logits.float().flatten(0, 1), labels.long().flatten().clamp(min=0), reduction="none")
        losses, right = flat.view(labels.shape), logits.argmax(-1) == labels
    n = counted.sum().clamp(min=1)
    return (losses * counted).sum() / n, (right & counted).sum() / n
