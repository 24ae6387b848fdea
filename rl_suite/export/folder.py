"""Write the folder: the agent in forms that others can load, what it reached, a film, and a card that says so."""

import io
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor

from agents.protocol import Agent
from rl_suite.checkpoint import write_atomically
from rl_suite.config import ExperimentConfig
from rl_suite.errors import UserError
from rl_suite.evaluation.adapters import NormalisingAgent
from rl_suite.evaluation.evaluate import EvaluationSpec
from rl_suite.experiments import KINDS, EvaluationRequest, load_attribute
from rl_suite.export.acting import (
    TOLERANCE,
    Observations,
    acting_policy,
    export_program,
    largest_difference,
    to_onnx,
)
from rl_suite.export.card import write_card
from rl_suite.reading import is_plain_file, read_bytes
from rl_suite.run import Run

COPIED = ("config.yaml", "evaluation.json", "laws.json", "report.html", "film.webp", "model.zip", "normalization.npz")
NOT_WEIGHTS = ("optimizer", "random", "memory", "replay")  # parts of a checkpoint that only training needs
EXAMPLES = 4  # observations, of as many episodes, on which a program must act as the agent does


def export_run(config: ExperimentConfig, run: Run, folder: Path, onnx: bool = False) -> list[str]:
    """Write a new folder for a model hub; returns one line for each file that says what it is.

    Files: ``README.md`` (the card), ``model.safetensors`` (the weights), ``policy.pt2`` and with ``onnx``
    ``policy.onnx`` (a program from raw observations to actions), and of the run ``model.zip``, ``evaluation.json``,
    its configuration, film and report.

    Raises:
        UserError: the folder exists, the run has no checkpoint, or ONNX was asked for and cannot be had.
    """
    if folder.exists() or folder.is_symlink():
        raise UserError(f"{folder} exists: name a folder that does not, or delete it")
    saved = run.checkpoints.read_for_evaluation()
    lines = {"model.safetensors": "the weights of the best checkpoint"}
    contents = {"model.safetensors": save(weights_of(saved.content), {"experiment": config.experiment})}
    player = KINDS[config.kind].player
    if player is not None:
        agent, spec = load_attribute(player)(config, EvaluationRequest(run=run))
        contents |= _programs(agent, spec, onnx, lines)
    elif onnx:
        raise UserError(f"an experiment of kind {config.kind} has no agent that acts, hence no program in ONNX")
    for name in COPIED:
        if is_plain_file(run.path / name):
            contents[name], lines[name] = read_bytes(run.path / name), f"{name} of the run"
    try:
        folder.mkdir(parents=True)
        for name, content in contents.items():
            write_atomically(folder / name, content)
        write_card(config, run, folder, lines)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror}") from None
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return [f"{name}: {about}" for name, about in {"README.md": "the card", **lines}.items()]


def weights_of(content: Mapping[str, Any], path: str = "") -> dict[str, Tensor]:
    """All floating-point tensors of a checkpoint but those that only training needs, by dotted name."""
    found: dict[str, Tensor] = {}
    for key, value in content.items():
        name = f"{path}.{key}" if path else str(key)
        if any(word in str(key) for word in NOT_WEIGHTS):
            continue
        if isinstance(value, Mapping):
            found |= weights_of(value, name)
        elif isinstance(value, Tensor) and value.is_floating_point():
            found[name] = value.detach().clone().contiguous()
    return found


def _programs(agent: Agent, spec: EvaluationSpec, onnx: bool, lines: dict[str, str]) -> dict[str, bytes]:
    """The policy as files of programs; says in ``lines`` what they take, or why there is none, unless one is a must."""
    model = agent.agent if isinstance(agent, NormalisingAgent) else agent
    if not isinstance(model, BaseAlgorithm):
        if onnx:
            raise UserError("only policies of stable-baselines3 become programs: this agent learns from its history")
        return {}
    try:
        module = acting_policy(model)
        example = _observations(agent, spec)
        program, free = export_program(module, example)
    except UserError as error:
        if onnx:
            raise
        lines["no policy.pt2"] = str(error)
        return {}
    difference = largest_difference(module, program.module(), example)
    if not difference <= TOLERANCE:
        raise UserError(f"policy.pt2 would act differently, by up to {difference:.2g}: take model.zip")
    many = "any number of observations" if free else "one observation"
    made = {"policy.pt2": _bytes_of(program)}
    lines["policy.pt2"] = f"a program of torch.export from {many} to the most likely action"
    if onnx:
        made["policy.onnx"] = to_onnx(program)
        lines["policy.onnx"] = f"the same for ONNX, from {many}"
    return made


def _bytes_of(program: "torch.export.ExportedProgram") -> bytes:
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def _observations(agent: Agent, spec: EvaluationSpec) -> Observations:
    """Raw first observations of held-out episodes, as tensors."""
    few = replace(spec, n_tasks=EXAMPLES, episodes_per_task=1, n_envs=EXAMPLES)
    env = few.make()
    try:
        found, _ = env.reset(seed=few.seed)
    finally:
        env.close()
    if isinstance(found, dict):
        return {key: torch.as_tensor(np.asarray(value)) for key, value in found.items()}
    return torch.as_tensor(np.asarray(found))
