"""Evaluate what stable-baselines3 trained: on validation tasks while training, on test tasks at the end."""

import os
import pickle
import zipfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecNormalize

from agents.protocol import Agent
from rl_suite.checkpoint import Saved, read_checkpoint
from rl_suite.errors import UserError
from rl_suite.evaluation.adapters import NormalisingAgent
from rl_suite.evaluation.baselines import make_baseline
from rl_suite.evaluation.controls import FIELDS, evaluate_controls
from rl_suite.evaluation.controls import WORLD as CONTROLLED_WORLD
from rl_suite.evaluation.evaluate import EvaluationSpec, evaluate_agent, evaluate_all
from rl_suite.evaluation.report import RANDOM, Report, Section
from rl_suite.evaluation.sizes import tell_of_fewer
from rl_suite.evaluation.statistics import mean
from rl_suite.experiments import EvaluationRequest
from rl_suite.finite import require_finite_tensors
from rl_suite.glimpses import Picture, strip
from rl_suite.progress import ProgressBar, after
from rl_suite.reading import parse_arrays, read_bytes
from rl_suite.recording import record
from rl_suite.run import Run
from rl_suite.sb3.build import ALGORITHMS, build_env, build_model, first_line
from rl_suite.sb3.config import SB3Config
from rl_suite.sb3.exported import STATISTICS, fill
from rl_suite.sb3.guard import FiniteGuard
from rl_suite.sb3.snapshot import set_normalization


def evaluation_spec(config: SB3Config, kwargs: dict[str, Any]) -> EvaluationSpec:
    """The held-out episodes that ``config.evaluation`` describes, in the world with ``kwargs``."""
    settings = config.evaluation
    return EvaluationSpec(
        env_id=config.env.id,
        env_options={**config.env.kwargs, **kwargs},
        n_tasks=settings.n_tasks,
        episodes_per_task=settings.episodes_per_task,
        n_envs=settings.n_envs,
        seed=settings.seed,
        deterministic=settings.deterministic,
        max_episode_steps=config.env.max_episode_steps,
        resamples=settings.resamples,
        confidence=settings.confidence,
    )


def validation_score(config: SB3Config, model: BaseAlgorithm) -> float:
    """Mean return on validation tasks; always the same episodes, so that scores can be compared."""
    spec = evaluation_spec(config, config.env.validation_kwargs)
    return float(mean(evaluate_agent(as_agent(model), spec).returns))


def picture_of_episode(config: SB3Config, model: BaseAlgorithm) -> Picture | None:
    """Moments of a validation episode side by side; None for worlds that draw none, and for those of others."""
    spec = evaluation_spec(config, config.env.validation_kwargs)
    if not spec.env_id.rpartition(":")[2].startswith("rl_suite/"):  # drawing may need a display, or more packages
        return None
    try:
        return strip(record(as_agent(model), spec, pictures=True, most=config.replay_steps).pictures)
    except UserError:
        return None


def evaluate(config: SB3Config, request: EvaluationRequest) -> Report:
    """Test tasks, the agent that was asked for, and the random agent and the oracle beside it.

    Raises:
        UserError: no such checkpoint or baseline, or one that does not fit this world.
    """
    spec = evaluation_spec(config, config.env.test_kwargs)
    agents: dict[str, Agent] = {}
    if request.baseline is not None:
        agents[request.baseline] = make_baseline(request.baseline, spec)
    if request.checkpoint is not None:
        agents[request.checkpoint.stem] = load_agent(config, request.checkpoint, request.trust_pickle)
    if request.run is not None:
        agents["trained"] = agent_of(config, request.run.checkpoints.read_for_evaluation())
    has_controls = spec.env_id.rpartition(":")[2] == CONTROLLED_WORLD
    episodes = spec.n_tasks * spec.episodes_per_task
    total = (len(agents) + 1 + has_controls * len(agents) * len(FIELDS)) * episodes
    with ExitStack() as guards, ProgressBar("evaluation", total) as progress:
        for inner in map(_inside, agents.values()):
            if isinstance(inner, BaseAlgorithm):
                guards.enter_context(FiniteGuard(inner, "in the evaluation"))
        try:
            report = evaluate_all(agents, spec, progress.update, title=f"{config.experiment}, held-out tasks")
            tasks = report.results[RANDOM].tasks
            tell_of_fewer(spec.n_tasks, spec.n_tasks if tasks is None else len(tasks))
            sections: dict[str, Section] = {}
            for index, (name, agent) in enumerate(agents.items() if has_controls else ()):
                start = (len(agents) + 1 + index * len(FIELDS)) * episodes
                sections[f"controls of {name}"] = evaluate_controls(agent, spec, name, after(progress.update, start))
            for name, agent in agents.items():
                inner = _inside(agent)
                if isinstance(inner, BaseAlgorithm) and hasattr(inner.policy, "multi_ptm"):
                    sections |= _ablation(name, inner, agent, spec)
            return replace(report, sections=sections)
        except (gym.error.Error, ValueError, TypeError) as error:
            raise UserError(f"{config.env.id} cannot be evaluated: {first_line(error)}") from None


def _inside(agent: Agent) -> Agent:
    """The agent behind its normalisation."""
    return agent.agent if isinstance(agent, NormalisingAgent) else agent


def _ablation(name: str, model: BaseAlgorithm, agent: Agent, spec: EvaluationSpec) -> dict[str, Section]:
    """What each pre-trained model of a policy is worth; nothing for a policy with fewer than two."""
    from rl_suite.sb3.ptm_ablation import ablate_ptms, can_ablate  # imports graph networks

    if not can_ablate(model):
        return {}
    return {f"pre-trained models of {name}": ablate_ptms(model, agent, spec)}


def report_final(config: SB3Config, run: Run) -> Report:
    """Evaluate the best checkpoint on test tasks and keep the result in the run folder."""
    report = evaluate(config, EvaluationRequest(run=run))
    report.save(run.path / "evaluation.json")
    return report


def player(config: SB3Config, request: EvaluationRequest) -> tuple[Agent, EvaluationSpec]:
    """The trained agent of a run and its held-out episodes, to be watched."""
    assert request.run is not None
    agent = load_agent(config, request.run.checkpoints.for_evaluation(), request.trust_pickle)
    return agent, evaluation_spec(config, config.env.test_kwargs)


def as_agent(model: BaseAlgorithm) -> Agent:
    """The model, looking through its running normalisation if it has one."""
    env = model.get_vec_normalize_env()
    return model if env is None else NormalisingAgent(model, env.normalize_obs)


def load_agent(config: SB3Config, path: Path, trust_pickle: bool = False) -> Agent:
    """An agent from a checkpoint of a run, or from an SB3 zip.

    The model is built from the configuration and only tensors are read from the file; nothing is
    unpickled unless ``trust_pickle`` says that the file comes from a friend.
    """
    if not os.path.lexists(path):
        raise UserError(f"{path}: no such checkpoint")
    if read_bytes(path)[:2] == b"PK":
        env = build_env(config, config.env.test_kwargs, config.env.n_envs)
        return _load_zip(config, path, env, trust_pickle)
    return agent_of(config, read_checkpoint(path))


def agent_of(config: SB3Config, saved: Saved) -> Agent:
    """The agent of a checkpoint, in a model that is built from the configuration.

    Raises:
        UserError: it belongs to another world or policy, or holds NaN or infinity.
    """
    path, content, _ = saved
    env = build_env(config, config.env.test_kwargs, config.env.n_envs)
    model = build_model(config, env)
    try:
        parts = content["sb3"]
        require_finite_tensors(parts["parameters"], f"in {path}")
        model.set_parameters(parts["parameters"], exact_match=True, device=model.device)
        if isinstance(env, VecNormalize):
            set_normalization(env, parts["envs"]["normalization"])
            env.training = False
    except (KeyError, ValueError, RuntimeError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: does not fit {config.env.id} with this policy: {first_line(error)}") from None
    return as_agent(model)


def _load_zip(config: SB3Config, path: Path, env: Any, trust_pickle: bool) -> Agent:
    algorithm = ALGORITHMS[config.algorithm]
    try:
        if isinstance(env, VecNormalize) and env.norm_obs:
            statistics = path.with_name(STATISTICS)
            fill(env, parse_arrays(read_bytes(statistics), statistics))
            env.training = False
        if trust_pickle:
            return as_agent(algorithm.load(path, env=env, device=config.device))
        model = build_model(config, env)
        model.set_parameters(str(path), exact_match=True, device=model.device)
    except (
        KeyError,
        ValueError,
        RuntimeError,
        AssertionError,
        zipfile.BadZipFile,
        pickle.UnpicklingError,
    ) as error:
        raise UserError(f"{path}: not a model for {config.env.id} with this policy: {first_line(error)}") from None
    return as_agent(model)
