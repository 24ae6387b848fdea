"""A policy of stable-baselines3 as one module, from raw observations to actions, and as a file that needs no SB3.

::

    program = torch.export.load("policy.pt2").module()
    actions = program(observations)  # (B, ...), or a dictionary of such tensors
"""

import copy
import importlib
import importlib.util
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib import MaskablePPO, RecurrentPPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor, nn
from torch.distributions import Distribution

from rl_suite.errors import UserError

Observations = Tensor | dict[str, Tensor]
TOLERANCE = 1e-4  # of actions, in float32; another order of summation costs about 1e-6
ONNX_MODULES = ("onnx", "onnxscript")


class Normalize(nn.Module):
    """Running mean and variance of one kind of observation, as VecNormalize applies them."""

    mean: Tensor
    scale: Tensor

    def __init__(self, statistics: RunningMeanStd, epsilon: float, clip: float):
        super().__init__()
        self.register_buffer("mean", torch.as_tensor(statistics.mean))
        self.register_buffer("scale", torch.as_tensor(np.sqrt(statistics.var + epsilon)))
        self.clip = clip

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> (B, ...), in single precision."""
        return ((x - self.mean) / self.scale).clamp(-self.clip, self.clip).float()


class ActingPolicy(nn.Module):
    """What ``model.predict(observation, deterministic=True)`` computes, with normalisation and limits of actions."""

    low: Tensor
    high: Tensor

    def __init__(self, policy: Any, normalize: Mapping[str, Normalize]):
        super().__init__()
        self.policy, self.normalize = policy, nn.ModuleDict(normalize)
        space = policy.action_space
        self.unscale = isinstance(space, spaces.Box) and policy.squash_output
        self.limited = isinstance(space, spaces.Box)
        if self.limited:
            self.register_buffer("low", torch.as_tensor(space.low))
            self.register_buffer("high", torch.as_tensor(space.high))

    def forward(self, observations: Observations) -> Tensor:
        """(B, ...), or a dictionary of such tensors -> (B, ...) actions."""
        if isinstance(observations, dict):
            observations = {key: self._normalized(key, value) for key, value in observations.items()}
        else:
            observations = self._normalized("", observations)
        actions: Tensor = self.policy._predict(observations, deterministic=True)
        if self.unscale:
            return self.low + 0.5 * (actions + 1.0) * (self.high - self.low)
        return torch.clamp(actions, self.low, self.high) if self.limited else actions

    def _normalized(self, key: str, value: Tensor) -> Tensor:
        name = f"of_{key}"
        return self.normalize[name](value) if name in self.normalize else value


def acting_policy(model: BaseAlgorithm) -> ActingPolicy:
    """The module of a trained model, on the processor.

    Raises:
        UserError: a policy with memory, or one that is told at every step which actions are allowed.
    """
    if isinstance(model, RecurrentPPO | MaskablePPO):
        what = "has a memory" if isinstance(model, RecurrentPPO) else "is told which actions are allowed"
        raise UserError(f"a policy that {what} maps no observation alone to an action: share model.zip instead")
    policy = copy.deepcopy(model.policy).to("cpu").requires_grad_(False)
    policy.set_training_mode(False)
    env = model.get_vec_normalize_env()
    return ActingPolicy(policy, {} if env is None or not env.norm_obs else _normalizers(env))


def _normalizers(env: VecNormalize) -> dict[str, Normalize]:
    statistics: Any = env.obs_rms
    by_key = statistics if isinstance(statistics, dict) else {"": statistics}
    return {f"of_{key}": Normalize(value, env.epsilon, env.clip_obs) for key, value in by_key.items()}


@contextmanager
def _no_validation() -> Iterator[None]:
    """Checks of a distribution's parameters depend on data, which a program cannot hold."""
    before = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(before)


def export_program(module: ActingPolicy, example: Observations) -> tuple["torch.export.ExportedProgram", bool]:
    """The module as a program of torch.export, and whether it takes any number of observations at once.

    Args:
        module: what acts.
        example: observations (B, ...) of at least two environments.

    Raises:
        UserError: its computations depend on the values, as those of graph networks on the number of edges do.
    """
    reasons = []
    for free in (True, False):
        inputs = example if free else _first(example)
        axes = torch.export.Dim("batch") if free else None
        shapes = {key: {0: axes} for key in inputs} if isinstance(inputs, dict) else {0: axes}
        try:
            with torch.no_grad(), _no_validation():
                program = torch.export.export(
                    module, (inputs,), dynamic_shapes=(shapes,) if free else None, strict=False
                )
        except (RuntimeError, ValueError, torch._dynamo.exc.UserError) as error:
            reasons.append((str(error).strip() or type(error).__name__).splitlines()[0][:200])
            continue
        return program, free
    raise UserError(f"no program can be made of this policy: {reasons[-1]}")


def largest_difference(module: ActingPolicy, other: Any, example: Observations) -> float:
    """Between the actions of the module and of what was made of it, on one observation after the other."""
    n = len(next(iter(example.values()))) if isinstance(example, dict) else len(example)
    with torch.no_grad():
        pairs = [(module(row), other(row)) for row in (_first(example, at) for at in range(n))]
    return max(float((a.double() - b.double()).abs().max()) for a, b in pairs)


def _first(example: Observations, at: int = 0) -> Observations:
    if isinstance(example, dict):
        return {key: value[at : at + 1] for key, value in example.items()}
    return example[at : at + 1]


def to_onnx(program: "torch.export.ExportedProgram") -> bytes:
    """The program as an ONNX model, for which the extra ``onnx`` is needed.

    Raises:
        UserError: the extra is not installed, or ONNX lacks an operation.
    """
    for name in ONNX_MODULES:
        if importlib.util.find_spec(name) is None:
            raise UserError(f"ONNX needs {name}: install the extra with pip install -e '.[onnx]', or take policy.pt2")
    errors: Any = importlib.import_module("torch.onnx.errors")
    buffer = io.BytesIO()
    try:
        made: Any = torch.onnx.export(program, dynamo=True, verbose=False)
    except (errors.OnnxExporterError, RuntimeError) as error:
        raise UserError(f"ONNX cannot hold this policy: {str(error).strip().splitlines()[0][:200]}") from None
    made.save(buffer)
    return buffer.getvalue()
