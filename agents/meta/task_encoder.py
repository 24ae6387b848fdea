"""One vector for a task, out of a few episodes played in it."""

import torch
from torch import Tensor, nn


class TwoWayGRU(nn.Module):
    """A GRU that reads n sequences forwards and another that reads them turned round, in one loop over both.

    Written out (Cho et al. 2014, with torch's placing of the reset gate), because ``torch.func.vmap`` has no rule
    for ``nn.GRU``.

    Args:
        features: numbers of one step.
        width: of each direction's state.
    """

    def __init__(self, features: int, width: int):
        super().__init__()
        bound = width**-0.5
        self.enter = nn.Parameter(torch.empty(2, features, 3 * width).uniform_(-bound, bound))
        self.enter_bias = nn.Parameter(torch.zeros(2, 1, 3 * width))
        self.again = nn.Parameter(torch.empty(2, width, 3 * width).uniform_(-bound, bound))
        self.again_bias = nn.Parameter(torch.zeros(2, 1, 3 * width))

    def forward(self, sequences: Tensor) -> Tensor:
        """(2, n, T, features), what each direction reads -> states (2, n, T, width) after every step."""
        _, n, length, features = sequences.shape
        entered = torch.baddbmm(self.enter_bias, sequences.reshape(2, n * length, features), self.enter)
        steps = entered.view(2, n, length, -1).unbind(2)  # T of (2, n, 3 width)
        state = torch.zeros_like(steps[0].chunk(3, -1)[0])
        states = []
        for step in steps:
            reset_in, update_in, candidate_in = step.chunk(3, -1)
            reset, update, candidate = torch.baddbmm(self.again_bias, state, self.again).chunk(3, -1)
            fresh = torch.tanh(candidate_in + torch.sigmoid(reset_in + reset) * candidate)
            state = fresh + torch.sigmoid(update_in + update) * (state - fresh)
            states.append(state)
        return torch.stack(states, 2)


class TaskEncoder(nn.Module):
    """A recurrent net reads every trajectory in both directions; their order does not matter.

    Steps of zeros at the end of a trajectory are padding, and trajectories of nothing but zeros are not there; neither
    changes anything. ``torch.func.vmap`` runs it with weights of many tasks.

    Args:
        features: numbers of one step.
        width: D, even.
        hierarchical: True keeps what every step looked like (local features) and lets a second net sum the
            trajectories up (global features); False averages the last states.
    """

    def __init__(self, features: int, width: int, hierarchical: bool):
        super().__init__()
        self.features, self.hierarchical = features, hierarchical
        self.recurrent = TwoWayGRU(features, width // 2)
        if hierarchical:
            self.local_task_encoder = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))
            self.global_task_aggregator = nn.Sequential(nn.Linear(2 * width, width), nn.GELU(), nn.LayerNorm(width))
        self.embedding = nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width))

    def forward(self, trajectories: Tensor) -> dict[str, Tensor]:
        """(B, K, T, features) -> ``task_embedding`` (B, D) and ``found`` (B,), whether any step was there.

        The hierarchical encoder adds ``local_features`` (B, K, T, D) and ``global_features`` (B, D).
        """
        n_tasks, n = trajectories.shape[:2]
        flat = trajectories.flatten(0, 1)  # (B K, T, F)
        states, last, real = self._read(flat)
        there = real.any(1).view(n_tasks, n)  # (B, K)
        share = there / there.sum(1, keepdim=True).clamp_min(1)
        if not self.hierarchical:
            summed = (last.view(n_tasks, n, -1) * share[..., None]).sum(1)
            return {"task_embedding": self.embedding(summed), "found": there.any(1)}
        local = self.local_task_encoder(states) * real[..., None]  # (B K, T, D)
        each = last + local.sum(1) / real.sum(1).clamp_min(1)[:, None]
        each = each.view(n_tasks, n, -1)  # (B, K, D)
        mean = (each * share[..., None]).sum(1)
        lowest = torch.finfo(each.dtype).min
        best = each.masked_fill(~there[..., None], lowest).amax(1).masked_fill(~there.any(1)[:, None], 0.0)
        total = self.global_task_aggregator(torch.cat([mean, best], 1))
        return {
            "task_embedding": self.embedding(mean + total),
            "local_features": local.view(n_tasks, n, *local.shape[1:]),
            "global_features": total,
            "found": there.any(1),
        }

    def _read(self, flat: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """States (n, T, D) of n trajectories, the last ones of both directions (n, D), and which steps are real."""
        steps = torch.arange(flat.shape[1], device=flat.device)
        lengths = ((flat != 0).any(-1) * (steps + 1)).amax(1)  # (n,)
        real = steps < lengths[:, None]  # (n, T)
        # each trajectory is turned round within its own length, so that padding stays at the end
        turned = torch.where(real, lengths[:, None] - 1 - steps, steps)[..., None]
        both = torch.stack([flat, flat.gather(1, turned.expand(-1, -1, flat.shape[2]))])
        ahead, back = self.recurrent(both).unbind()
        wide = turned.expand(-1, -1, back.shape[2])
        at_end = (lengths - 1).clamp_min(0)[:, None, None].expand(-1, 1, back.shape[2])
        last = torch.cat([ahead.gather(1, at_end), back.gather(1, at_end)], 2)[:, 0]
        return torch.cat([ahead, back.gather(1, wide)], 2), last, real
