"""A module as a pure function of its named parameters; the module itself is never changed.

Calls go to copies of the module, one per thread, whose parameters and buffers are put in for the call. What batch
normalisation does is said, not left to ``module.training``:

* ``"batch"``: every call is normalised by its own batch. Queries then see each other (transductive).
* ``"support"``: everything of a task is normalised by its support set, so that no query sees another, and training and
  test do the same (MetaBN in Bronskill et al. 2020, "TaskNorm").
* ``"frozen"``: the running statistics of the module are used and stay as they are.
* ``"per_step"``: batch statistics while meta-training, and statistics of each inner step, gathered with
  :meth:`FunctionalModule.observe`, when it counts (Antoniou et al. 2019, section 4, BNRS).
"""

import copy
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from rl_suite.errors import UserError
from rl_suite.loading import require_known
from rl_suite.meta_learning.rules import Weights

BatchNormPolicy = Literal["batch", "support", "frozen", "per_step"]
POLICIES = ("batch", "support", "frozen", "per_step")
MOMENTUM = 0.1  # of the running statistics per step, torch's default
ELEMENTWISE = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.Identity)
SAFE_TOGETHER = (*ELEMENTWISE, nn.Linear, nn.LayerNorm, nn.Flatten, nn.Sequential)  # small layers that vmap well


class StepStatistics(nn.Module):
    """Running mean and variance (steps, C) of every batch normalisation, one row per inner step."""

    def __init__(self, layers: Mapping[str, int], steps: int):
        super().__init__()
        self.names = {name: name.replace(".", "/") for name in layers}
        for name, channels in layers.items():
            self.register_buffer(f"{self.names[name]}/mean", torch.zeros(steps, channels))
            self.register_buffer(f"{self.names[name]}/variance", torch.ones(steps, channels))

    def row(self, layer: str, step: int) -> tuple[Tensor, Tensor]:
        """Mean and variance (C,) of a layer; steps beyond the last use the last."""
        mean = self.get_buffer(f"{self.names[layer]}/mean")
        step = min(step, len(mean) - 1)
        return mean[step], self.get_buffer(f"{self.names[layer]}/variance")[step]


class _SupportNorm(_BatchNorm):
    """Batch normalisation of all rows by the statistics of the first ones."""

    context = 0  # how many those are; 0: all

    def forward(self, x: Tensor) -> Tensor:
        """Normalised x (N, C, ...)."""
        if not self.context:
            return F.batch_norm(x, None, None, self.weight, self.bias, training=True, eps=self.eps)
        seen = x[: self.context]
        places = [0, *range(2, x.ndim)]
        shape = [1, -1, *[1] * (x.ndim - 2)]
        scale = (seen.var(places, unbiased=False) + self.eps).rsqrt()
        scale = scale if self.weight is None else scale * self.weight
        shift = -seen.mean(places) * scale
        shift = shift if self.bias is None else shift + self.bias
        return x * scale.reshape(shape) + shift.reshape(shape)


class FunctionalModule:
    """``module(x)`` as ``forward(weights, x)``, for one task or for a stack of tasks.

    Args:
        module: any module; shared sub-modules have one set of weights, under the first of their names.
        batch_norm: what batch normalisation does, see above.
        steps: inner steps that have statistics of their own (``"per_step"`` only); one more for the queries.
    """

    def __init__(self, module: nn.Module, batch_norm: BatchNormPolicy = "batch", steps: int = 1):
        require_known(batch_norm, POLICIES, "batch_norm")
        self.module, self.batch_norm, self.steps = module, batch_norm, steps
        layers = {name: part for name, part in module.named_modules() if isinstance(part, _BatchNorm)}
        self.norms = {name: part.num_features for name, part in layers.items()}
        without = [name for name, part in layers.items() if not part.track_running_stats]
        if batch_norm == "frozen" and without:
            raise UserError(f"batch_norm='frozen' needs running statistics, and {without[0]!r} keeps none")
        self.statistics = StepStatistics(self.norms if batch_norm == "per_step" else {}, steps + 1)
        own = tuple(f"{name}." if name else "" for name in (() if batch_norm == "frozen" else layers))
        self._buffers = [name for name, _ in module.named_buffers() if not name.startswith(own)]
        self._local = threading.local()

    def __deepcopy__(self, memo: dict[int, Any]) -> "FunctionalModule":
        twin = FunctionalModule(copy.deepcopy(self.module, memo), self.batch_norm, self.steps)
        twin.statistics = copy.deepcopy(self.statistics, memo)  # the learner's own copy, if it is copied as well
        memo[id(self)] = twin
        return twin

    @property
    def weights(self) -> dict[str, Tensor]:
        """The live parameters by name; one that is shared stands there once."""
        return dict(self.module.named_parameters())

    @property
    def draws(self) -> bool:
        """Whether a call draws random numbers (dropout in training mode)."""
        return any(isinstance(part, nn.modules.dropout._DropoutNd) and part.training for part in self.module.modules())

    @property
    def transductive(self) -> bool:
        """Whether queries that are judged are normalised by each other's statistics."""
        return self.batch_norm == "batch" and bool(self.norms)

    @property
    def by_support(self) -> bool:
        """Whether everything of a task is normalised by its support set."""
        return self.batch_norm == "support" and bool(self.norms)

    @property
    def small(self) -> bool:
        """Whether only small dense layers are in it, which are faster for many tasks at once."""
        return all(isinstance(part, SAFE_TOGETHER) for part in self.module.modules())

    def forward(self, weights: Weights, x: Tensor, step: int = 0, judged: bool = False, context: int = 0) -> Tensor:
        """Outputs for one task.

        Args:
            weights: parameters by name, all of them.
            x: inputs (N, ...).
            step: how many inner steps the weights have made, for statistics per step.
            judged: whether the outputs count (evaluation), rather than train.
            context: how many of the first inputs are the support set, for ``"support"``; their outputs are left out.
        """
        skeleton = self._skeleton()
        for name in self.norms:
            layer = skeleton.get_submodule(name)
            if self.batch_norm == "support":
                layer.context = context  # type: ignore[assignment]
            elif self.batch_norm == "per_step":
                layer.running_mean, layer.running_var = (
                    self.statistics.row(name, step) if judged else (None, None)  # type: ignore[assignment]
                )
        live = dict(self.module.named_buffers())
        buffers = {name: live[name].clone() for name in self._buffers}  # a call may change its own
        try:
            outputs: Tensor = functional_call(skeleton, {**weights, **buffers}, (x,), tie_weights=True)
        except ValueError as error:
            if "more than 1 value per channel" in str(error):
                raise UserError(
                    "batch normalisation has no statistics of a single example; "
                    "use batch_norm='frozen' or 'per_step', or give more examples"
                ) from None
            raise
        return outputs[context:]

    def forward_tasks(
        self, weights: Weights, x: Tensor, step: int = 0, judged: bool = False, context: int = 0
    ) -> Tensor:
        """Outputs (T, N, ...) for a stack of tasks with weights (T, *shape) and inputs (T, N, ...)."""
        layers = self._dense_layers(x)
        if layers is not None:
            return self._dense(layers, weights, x[:, context:])
        calls = vmap(lambda w, inputs: self.forward(w, inputs, step, judged, context), randomness="different")
        outputs: Tensor = calls(dict(weights), x)
        return outputs

    def capture(
        self, weights: Weights, x: Tensor, head: str, step: int = 0, judged: bool = False, context: int = 0
    ) -> Tensor:
        """What enters the sub-module ``head`` when the module is called on ``x``, of the context, too.

        See :meth:`forward`, which leaves the context out.
        """
        found: list[Tensor] = []
        handle = self._skeleton().get_submodule(head).register_forward_pre_hook(lambda _, args: found.append(args[0]))
        try:
            self.forward(weights, x, step, judged, context)
        finally:
            handle.remove()
        if len(found) != 1:
            raise UserError(f"the head {head!r} must be called exactly once, not {len(found)} times")
        return found[0]

    @contextmanager
    def _listening(self, step: int) -> Iterator[None]:
        """While open, batch normalisations put the statistics of what they see into the row of ``step``."""
        handles = []
        for name in self.norms:
            rows = self.statistics.row(name, step)

            def hear(_: nn.Module, args: tuple[Tensor, ...], rows: tuple[Tensor, Tensor] = rows) -> None:
                x = args[0].detach().transpose(0, 1).flatten(1)  # (C, N * places)
                rows[0].lerp_(x.mean(1), MOMENTUM)
                rows[1].lerp_(x.var(1), MOMENTUM)

            handles.append(self._skeleton().get_submodule(name).register_forward_pre_hook(hear))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def observe(self, weights: Weights, x: Tensor, step: int) -> None:
        """Let the statistics of inner step ``step`` follow those of this batch (``"per_step"`` only)."""
        if self.batch_norm == "per_step" and self.norms:
            with torch.no_grad(), self._listening(step):
                self.forward(weights, x, step)

    def _skeleton(self) -> nn.Module:
        """This thread's copy of the module, in the modes of the module."""
        skeleton: nn.Module | None = getattr(self._local, "skeleton", None)
        if skeleton is None:
            skeleton = copy.deepcopy(self.module)
            self._local.skeleton, self._local.modes = skeleton, ()
        modes = tuple(part.training for part in self.module.modules())
        if self._local.modes != modes:
            for part, training in zip(skeleton.modules(), modes, strict=True):
                part.training = training
            for name in self.norms:
                self._apply_policy(skeleton.get_submodule(name))
            self._local.modes = modes
        return skeleton

    def _apply_policy(self, layer: nn.Module) -> None:
        """Running statistics as they are, or none, with which torch takes those of the batch."""
        layer.training = False
        if self.batch_norm == "support":
            layer.__class__ = _SupportNorm  # of a copy that is ours, and whose parameters keep their names
        if self.batch_norm != "frozen":
            layer.track_running_stats = False  # type: ignore[assignment]
            layer.running_mean = layer.running_var = layer.num_batches_tracked = None  # type: ignore[assignment]

    def _dense_layers(self, x: Tensor) -> list[tuple[str, nn.Module]] | None:
        """The layers of a plain multi-layer perceptron on (T, N, features), else None."""
        if not isinstance(self.module, nn.Sequential) or x.ndim != 3:
            return None
        layers = list(self.module._modules.items())  # named_children() leaves out what stands there twice
        known = [part for _, part in layers if isinstance(part, (nn.Linear, *ELEMENTWISE))]
        named = zip((name for name, _ in layers), known, strict=False)
        return list(named) if len(known) == len(layers) else None

    @staticmethod
    def _dense(layers: list[tuple[str, nn.Module]], weights: Weights, x: Tensor) -> Tensor:
        """All tasks of a perceptron in one product per layer: half the time of ``vmap``."""
        names: dict[nn.Module, str] = {}
        for name, layer in layers:
            first = names.setdefault(layer, name)  # a layer that stands there twice has its weights under one name
            if not isinstance(layer, nn.Linear):
                x = layer(x)
            elif layer.bias is None:
                x = torch.bmm(x, weights[f"{first}.weight"].transpose(1, 2))
            else:
                x = torch.baddbmm(weights[f"{first}.bias"].unsqueeze(1), x, weights[f"{first}.weight"].transpose(1, 2))
        return x
