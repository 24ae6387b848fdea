"""A policy that proposes programs to the islands and learns from what became of them.

Risk-seeking policy gradient (Petersen et al. 2021) on the policy's own samples, together with the best
programs of the island that it seeds, as in neural-guided genetic programming (Mundhenk et al. 2021).
"""

from typing import Any

import numpy as np
import torch

from agents.expression_policy import ExpressionPolicy
from envs.symbolic.unit_algebra import has_units
from rl_suite.symbolic.evolution.genome import Alphabet, Dimensions, Tokens, Values, is_legal

# Constants of the method as it is built here, not the papers'.
BATCH = 100  # programs proposed at a time
RISK = 0.1  # share of the batch that is learnt from
FROM_ISLAND = 20  # best programs of the island that are learnt from as well
LEARNING_RATE = 2e-3  # of Adam
ENTROPY = 0.005


class Guidance:
    """The policy, its optimiser and its random numbers."""

    def __init__(self, alphabet: Alphabet, max_length: int, seed: int):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.policy = ExpressionPolicy(alphabet.symbols.arity, max_length)
        self.optimizer = torch.optim.Adam(self.policy.parameters(), lr=LEARNING_RATE)
        self.generator = torch.Generator().manual_seed(seed)
        self.alphabet = alphabet

    def propose(self, dimensions: Dimensions) -> tuple[Tokens, Values]:
        """Legal, dimensionally consistent programs (at most BATCH) with ones for their constants."""
        tokens, symbols = self.policy.sample(BATCH, self.generator), self.alphabet.symbols
        units, wild_constants = dimensions
        keep = []
        for i, row in enumerate(tokens):
            n = int((row >= 0).sum())
            legal = is_legal(row, n, symbols.arity, symbols.opcode, symbols.family)
            if legal and (units.shape[1] == 0 or has_units(row, n, symbols.opcode, units, wild_constants)):
                keep.append(i)
        return tokens[keep], np.ones((len(keep), tokens.shape[1]))

    def learn(self, tokens: Tokens, error: Values, island_tokens: Tokens, island_error: Values) -> None:
        """One gradient step: the best of the proposals and of the island, against the worst of those chosen."""
        both = np.concatenate([tokens, island_tokens[np.argsort(island_error, kind="stable")[:FROM_ISLAND]]])
        errors = np.concatenate([error, np.sort(island_error, kind="stable")[:FROM_ISLAND]])
        reward = np.where(np.isfinite(errors), 1.0 / (1.0 + np.sqrt(np.minimum(errors, 1e12))), 0.0)
        own = reward[: len(tokens)]
        if len(own) == 0:
            return
        threshold = float(np.quantile(own, 1.0 - RISK))
        chosen = np.flatnonzero(reward >= threshold)
        advantage = torch.tensor(reward[chosen] - threshold, dtype=torch.float32)
        advantage = advantage / (advantage.max() + 1e-8)
        log_p, entropy = self.policy.log_prob(both[chosen])
        loss = -(advantage * log_p).mean() - ENTROPY * entropy.mean()
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.policy.parameters(), 1.0)
        self.optimizer.step()

    def state(self) -> dict[str, Any]:
        """Weights, optimiser and random numbers."""
        return {
            "policy": self.policy.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state`."""
        self.policy.load_state_dict(state["policy"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
