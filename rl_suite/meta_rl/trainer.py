"""MAML over a world: in every outer step, tasks are adapted to by playing, and the weights move to where that pays."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from agents.meta.nodes import FlatNodes
from agents.meta.program_nodes import PointerActions, ProgramNodes
from agents.meta_policy import EnhancedMetaLearningPolicy
from envs.symbolic import PhysicsTaskDistribution
from rl_suite.checkpoint import load_checkpoint, save_checkpoint
from rl_suite.errors import NonFiniteError, UserError
from rl_suite.meta_learning.engine import evaluate
from rl_suite.meta_rl.adaptation import Adaptation, TaskRecord, make_context
from rl_suite.meta_rl.analysis import AttentionAnalyzer
from rl_suite.meta_rl.config import EnhancedMetaLearningConfig, MetaTrainingSection
from rl_suite.meta_rl.views import SLOT, flat_size
from rl_suite.meta_rl.worlds import SYMBOLIC, TaskWorlds
from rl_suite.progress import ProgressBar

_log = logging.getLogger(__name__)
Say = Callable[[int, Mapping[str, float]], None]


def make_policy(worlds: TaskWorlds, settings: MetaTrainingSection) -> EnhancedMetaLearningPolicy:
    """The policy that the settings describe, for the observations and actions of a world."""
    n, width = worlds.action_dim, settings.hidden_dim
    encoder = head = None
    if worlds.env_id == SYMBOLIC:
        encoder = ProgramNodes(worlds.space, spaces.Discrete(n), width)
        head = PointerActions(width, n, encoder.n_columns)
    return EnhancedMetaLearningPolicy(
        SLOT if encoder else flat_size(worlds.space),
        n,
        width,
        settings.num_attention_heads,
        settings.fusion_type,
        settings.use_hierarchical_encoding,
        observation_encoder=encoder,
        action_head=head,
        weighting=settings.weighting,
    )


class EnhancedMAMLTrainer:
    """Trains a policy whose few gradient steps on a task's own episodes pay off.

    One outer step: every task's weights take ``adaptation_steps`` inner steps, each on support episodes that the
    weights of that moment play; the adapted policy plays query episodes; their loss, differentiated as ``order`` says,
    moves the weights that all tasks begin with.

    Args:
        config: see :class:`EnhancedMetaLearningConfig`.
        policy: the network; None: the one that ``config`` describes. It may know more actions and read more numbers
            than the world has; where it reads fewer, it is shown fewer points of the laws' data.
        task_distribution: a distribution of laws, or the tasks of any world; None: the large collection of laws.

    Raises:
        UserError: the policy does not fit the world, or the device does not exist.
    """

    def __init__(
        self,
        config: EnhancedMetaLearningConfig,
        policy: EnhancedMetaLearningPolicy | None = None,
        task_distribution: PhysicsTaskDistribution | TaskWorlds | None = None,
    ):
        self.config = config
        if not isinstance(task_distribution, TaskWorlds):
            laws = PhysicsTaskDistribution() if task_distribution is None else task_distribution
            flat = policy is not None and isinstance(policy.observation_encoder, FlatNodes)
            most = policy.observation_dim if policy is not None and flat else None
            task_distribution = TaskWorlds.of_laws(laws, seed=config.seed, observation_dim=most)
        self.worlds = task_distribution
        torch.manual_seed(config.seed)
        self.rng = np.random.default_rng(config.seed)
        self.policy = make_policy(self.worlds, config) if policy is None else policy
        if self.policy.action_dim < self.worlds.action_dim:
            raise UserError(
                f"the policy knows {self.policy.action_dim} actions, and the world has {self.worlds.action_dim}; "
                "make a policy with a larger action_dim"
            )
        try:
            self.policy.to(torch.device(config.device))
        except (RuntimeError, AssertionError) as error:
            raise UserError(f"device={config.device}: {str(error).splitlines()[0]}") from None
        self.adaptation = Adaptation(self.policy, self.worlds, config)
        self.optimizer = torch.optim.Adam(self.policy.parameters(), config.meta_lr)
        self.iteration = 0
        self.skipped: Counter[str] = Counter()
        """How often each task was left out because its inner gradients were not finite."""
        maps = config.log_dir / "attention_maps" if config.save_attention_maps else None
        self.attention_analyzer = AttentionAnalyzer(maps, config.attention_save_interval)

    @property
    def weights(self) -> dict[str, Tensor]:
        """The meta-parameters by name."""
        return dict(self.policy.named_parameters())

    def train(self, n_iterations: int | None = None) -> dict[str, float]:
        """Take outer steps, ``config.meta_iterations`` unless told; returns the figures of the last.

        Progress is shown, and figures go to TensorBoard in ``config.log_dir``. Called again, it goes on.
        """
        total = self.config.meta_iterations if n_iterations is None else n_iterations
        if total < 1:
            raise UserError(f"n_iterations must be at least 1, not {total}")
        writer = SummaryWriter(str(self.config.log_dir))  # type: ignore[no-untyped-call]
        try:
            with ProgressBar("meta-training", total) as progress:
                for done in range(1, total + 1):
                    values = self.meta_step()
                    for tag, value in values.items():
                        writer.add_scalar(tag, value, self.iteration)  # type: ignore[no-untyped-call]
                    shown = {tag.partition("/")[2]: value for tag, value in values.items() if tag.startswith("train/")}
                    progress.update(done, **shown)
        finally:
            writer.close()  # type: ignore[no-untyped-call]
        return values

    def meta_step(self, tasks: Sequence[int] | None = None) -> dict[str, float]:
        """One outer step, on these tasks or on tasks that are drawn; returns its figures by tag.

        Raises:
            NonFiniteError: no task's inner gradients were finite, or the outer gradient is not.
        """
        if tasks is None:
            tasks = self.worlds.sample(self.rng, self.config.tasks_per_batch)
        records = self.collect(tasks)
        result = evaluate(cast(Any, self.adaptation.objective), self.weights, cast(Any, records))
        self._move(result.gradients)
        self.iteration += 1
        return {
            "train/meta_loss": float(result.value),
            "train/skipped_tasks": float(len(tasks) - len(records)),
            **self._figures(records),
        }

    def collect(self, tasks: Sequence[int]) -> list[TaskRecord]:
        """Adapt to tasks and play queries; tasks with inner gradients that are not finite are left out and named."""
        adapting = self.adaptation.begin(self.weights, tasks, self.rng)
        for _ in range(self.config.adaptation_steps):
            adapting.step()
        for record, rollout in zip(adapting.records, adapting.query(self.config.query_episodes), strict=True):
            record.query = rollout
        for record in adapting.records:
            if not record.finite:
                name = self.worlds.name(record.task)
                self.skipped[name] += 1
                _log.warning("iteration %d: the inner gradients of %s are not finite; skipped", self.iteration, name)
        kept = [record for record in adapting.records if record.finite]
        if not kept:
            names = ", ".join(self.worlds.name(task) for task in tasks[:5])
            raise NonFiniteError(
                f"iteration {self.iteration}: no task has finite inner gradients ({names}); lower adaptation_lr"
            )
        return kept

    def _move(self, gradients: Mapping[str, Tensor]) -> None:
        """One step of the outer optimizer."""
        for name, parameter in self.policy.named_parameters():
            parameter.grad = gradients.get(name)
            if parameter.grad is not None and not bool(parameter.grad.isfinite().all()):
                raise NonFiniteError(f"iteration {self.iteration}: the outer gradient of {name} is not finite")
        if self.config.meta_clip is not None:
            torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.config.meta_clip)
        self.optimizer.step()
        self.optimizer.zero_grad()

    @torch.no_grad()
    def _figures(self, records: Sequence[TaskRecord]) -> dict[str, float]:
        """Success and return before and after adaptation: of all, of each family and of each task."""
        rows: dict[str, list[float]] = {}

        def note(tag: str, value: float) -> None:
            rows.setdefault(tag, []).append(value)

        for record in records:
            assert record.query is not None
            name, family = self.worlds.name(record.task), self.worlds.family(record.task)
            outputs, attention = self.adaptation.outputs(record.weights, record.query.steps)
            parts = self.adaptation.loss.parts(outputs, record.query.steps, attention)
            for part, value in parts.items():
                note(f"train/{part}", float(value))
            noted = self.attention_analyzer.record(name, self.iteration, attention)
            for measure in ("entropy", "max", "argmax_consistency"):
                note(f"attention/{measure}", noted[measure])
            if self.config.save_attention_maps and self.iteration % self.config.attention_save_interval == 0:
                first = record.query.steps.episode == 0
                self.attention_analyzer.draw(name, self.iteration, attention[first])
            if record.support:
                note("train/success_before", float(record.support[0].success.mean()))
                note("train/return_before", float(record.support[0].returns.mean()))
            for tag in ("train/success", f"family/{family}/success", f"task/{name}/success"):
                note(tag, float(record.query.success.mean()))
            for tag in ("train/return", f"family/{family}/return", f"task/{name}/return"):
                note(tag, float(record.query.returns.mean()))
        return {tag: float(np.mean(values)) for tag, values in rows.items()}

    def success_after(
        self,
        tasks: Sequence[int],
        steps: Sequence[int],
        episodes: int,
        seed: int,
        support_tasks: Sequence[int] | None = None,
        worlds: TaskWorlds | None = None,
    ) -> dict[int, np.ndarray[Any, np.dtype[np.float64]]]:
        """Success (tasks,) of adapted policies after each of these numbers of inner steps; nothing is learned.

        Args:
            tasks: whose queries are played.
            steps: numbers of inner steps.
            episodes: query episodes of each task.
            seed: of all that is random here.
            support_tasks: adapt to these instead of ``tasks``: the control for what adaptation is worth.
            worlds: where the tasks are, such as those of another part; None: those of training.
        """
        how = self.adaptation if worlds is None else Adaptation(self.policy, worlds, self.config)
        adapting = how.begin(
            self.weights, tasks if support_tasks is None else support_tasks, np.random.default_rng(seed)
        )
        found = {}
        for step in range(max(steps) + 1):
            if step in steps:
                found[step] = np.array([rollout.success.mean() for rollout in adapting.query(episodes, tasks)])
            if step < max(steps):
                adapting.step()
        return found

    @torch.no_grad()
    def attention_after(
        self, tasks: Sequence[int], steps: Sequence[int], seed: int, worlds: TaskWorlds | None = None
    ) -> dict[str, dict[int, Tensor]]:
        """Attention (T, heads, keys) along one episode of each task after each of these numbers of inner steps."""
        worlds = worlds or self.worlds
        how = Adaptation(self.policy, worlds, self.config)
        adapting = how.begin(self.weights, tasks, np.random.default_rng(seed))
        found: dict[str, dict[int, Tensor]] = {worlds.name(task): {} for task in tasks}
        for step in range(max(steps) + 1):
            if step in steps:
                for record, rollout in zip(adapting.records, adapting.query(1), strict=True):
                    _, attention = how.outputs(record.weights, rollout.steps)
                    found[worlds.name(record.task)][step] = attention[rollout.steps.episode == 0]
            if step < max(steps):
                adapting.step()
        return found

    def _prepare_task_context(self, trajectories: Sequence[Tensor] | Tensor) -> Tensor:
        """Trajectories (T, features) as a task context (1, K, T, features): the last ones, padded with zeros.

        Raises:
            UserError: there is none, or one is empty.
        """
        shown = max(self.config.context_trajectories, 1)
        context = make_context(list(trajectories), shown, self.config.context_steps)
        return context.to(torch.device(self.config.device))

    def state_dict(self) -> dict[str, Any]:
        """All that training changes: weights, optimizer, generators, counts, the history of the attention."""
        return {
            "policy": self.policy.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "iteration": self.iteration,
            "rng": self.rng.bit_generator.state,
            "skipped": dict(self.skipped),
            "attention": self.attention_analyzer.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what :meth:`state_dict` gave; raises KeyError, RuntimeError or ValueError if it does not fit."""
        self.policy.load_state_dict(state["policy"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.rng.bit_generator.state = state["rng"]
        self.iteration = int(state["iteration"])
        self.skipped = Counter({str(name): int(count) for name, count in state["skipped"].items()})
        self.attention_analyzer.load_state_dict(state["attention"])

    def save(self, path: Path | str) -> None:
        """Write a checkpoint from which training goes on, bit for bit."""
        save_checkpoint(Path(path), self.state_dict())

    def load(self, path: Path | str) -> None:
        """Go on from a checkpoint.

        Raises:
            UserError: it is none, or of another policy.
        """
        state = load_checkpoint(Path(path))
        try:
            self.load_state_dict(state)
        except (KeyError, RuntimeError, ValueError, TypeError):
            raise UserError(f"{path}: is not a checkpoint of this trainer and policy") from None
