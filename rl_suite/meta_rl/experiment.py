"""``python train.py experiment=meta_bandit``: pre-training, meta-training, and what adaptation is worth."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from envs.symbolic import PhysicsTaskDistribution
from rl_suite.checkpoint import load_checkpoint
from rl_suite.cli import show
from rl_suite.errors import UserError
from rl_suite.evaluation.command import Reportable
from rl_suite.evaluation.statistics import cluster_bootstrap
from rl_suite.experiments import EvaluationRequest
from rl_suite.meta_learning.experiment import fit, restore
from rl_suite.meta_learning.metrics import TaskReport, TaskScores
from rl_suite.meta_learning.session import Validation
from rl_suite.meta_rl.analysis import draw_before_and_after, draw_evolution
from rl_suite.meta_rl.config import EnhancedMetaLearningConfig, MetaRLConfig
from rl_suite.meta_rl.imitation import WritingStage, pretrain_policy
from rl_suite.meta_rl.sizes import shrink
from rl_suite.meta_rl.trainer import EnhancedMAMLTrainer
from rl_suite.meta_rl.worlds import SYMBOLIC, TaskWorlds
from rl_suite.rehearsal import rehearsed
from rl_suite.run import Run
from rl_suite.seeding import seed_everything

PARTS = ("train", "validation", "test")
COLLECTION_SEED = 0  # of the laws and their split: what pre-training keeps away from is the same for every run
VALIDATION_SEED, TEST_SEED = 1, 2  # after the run's own seed
SHOWN = 2  # held-out tasks whose attention is drawn
STAGE_FILE = "pretraining.ckpt"  # beside the checkpoints of the outer loop
OTHER = 1  # places by which supports are moved on, for the control


def make_worlds(config: MetaRLConfig, part: str) -> TaskWorlds:
    """The tasks of one part of the split."""
    world = config.meta_rl.world
    if world.id != SYMBOLIC:
        return TaskWorlds(world.id, {**world.kwargs, "split": part})
    if part not in PARTS:
        raise UserError(f"part must be one of {', '.join(PARTS)}, not {part!r}")
    laws = PhysicsTaskDistribution(world.noise, world.collection, part, COLLECTION_SEED)  # type: ignore[arg-type]
    return TaskWorlds.of_laws(laws, world.kwargs, world.points, config.seed)


class MetaRLSession:
    """A trainer as the training loop of ``rl_suite.meta_learning`` sees it."""

    def __init__(self, config: MetaRLConfig, folder: Path | None):
        self.config, self.loop = config, config.meta_rl.loop
        self.settings = EnhancedMetaLearningConfig(
            **config.meta_rl.maml.model_dump(),
            meta_iterations=self.loop.iterations,
            log_dir=folder or Path(),
            device="cpu" if config.device == "auto" else config.device,
            seed=config.seed,
        )
        self.worlds = {part: make_worlds(config, part) for part in PARTS}
        self.trainer = EnhancedMAMLTrainer(self.settings, task_distribution=self.worlds["train"])
        if folder is None:
            self.trainer.attention_analyzer.folder = None
        self.pretraining: dict[str, float] = {}

    def pretrain(self, run: Run) -> bool:
        """The supervised stage, where the configuration has one; False if a signal stopped it."""
        section = self.config.meta_rl.pretraining
        if not section.laws:
            return True
        stage = WritingStage(self.trainer.policy, self.worlds["train"], section.laws, section.seconds, self.config.seed)
        if not pretrain_policy(stage, run.path / STAGE_FILE, lambda: run.stop_requested):
            return False
        self.pretraining = {f"pretraining_{name}": value for name, value in stage.facts().items()}
        return True

    @property
    def total_steps(self) -> int:
        """Outer steps of a whole run."""
        return self.loop.iterations

    def step(self, step: int) -> dict[str, float]:
        """One outer step."""
        return self.trainer.meta_step()

    def validate(self) -> Validation:
        """Success on validation tasks before and after adaptation; the trainer goes on as if it had not looked."""
        worlds, steps = self.worlds["validation"], self.config.meta_rl.maml.adaptation_steps
        found = self.trainer.success_after(
            worlds.first(self.loop.validation_tasks),
            (0, steps),
            self.loop.test_episodes,
            self.config.seed + VALIDATION_SEED,
            worlds=worlds,
        )
        after = float(found[steps].mean())
        return Validation({"eval/success_before": float(found[0].mean()), "eval/success": after}, after)

    def evaluate(self, training: Mapping[str, float]) -> TaskReport:
        """Success on held-out tasks by inner steps, beside the controls of what they and training are worth.

        These are the same steps on another task's support, the policy that is not shown its task, and one that was
        never trained, whose actions are nearly random as long as it is not adapted.
        """
        worlds, loop = self.worlds["test"], self.loop
        tasks = worlds.first(loop.test_tasks)
        seed = self.config.seed + TEST_SEED
        most = max(loop.test_steps)
        own = self.trainer.success_after(tasks, loop.test_steps, loop.test_episodes, seed, worlds=worlds)
        rows = {f"{k} steps": own[k] for k in sorted(own, reverse=True)}
        if len(tasks) > OTHER:
            others = [*tasks[OTHER:], *tasks[:OTHER]]
            moved = self.trainer.success_after(tasks, (most,), loop.test_episodes, seed, others, worlds=worlds)
            rows[f"{most} steps on another task's episodes"] = moved[most]
        if self.settings.context_trajectories:
            blind = EnhancedMAMLTrainer(
                self.settings.model_copy(update={"context_trajectories": 0}), self.trainer.policy, self.worlds["train"]
            )
            rows[f"no context, {most} steps"] = blind.success_after(
                tasks, (most,), loop.test_episodes, seed, worlds=worlds
            )[most]
        scratch = EnhancedMAMLTrainer(self.settings, task_distribution=self.worlds["train"])
        untrained = scratch.success_after(tasks, (0, most), loop.test_episodes, seed, worlds=worlds)
        rows[f"untrained, {most} steps"] = untrained[most]
        rows["untrained, nearly random actions"] = untrained[0]
        families = [worlds.family(task) for task in tasks]
        settings = {
            "world": worlds.env_id,
            "tasks": len(tasks),
            "families": len(set(families)),
            "episodes_per_task": loop.test_episodes,
            **self.pretraining,
            **training,
        }
        by_family = {name: cluster_bootstrap(values, families, seed=0) for name, values in rows.items()}
        extra = {
            "task_names": [worlds.name(t) for t in tasks],
            "task_families": families,
            "by_family": {name: interval._asdict() for name, interval in by_family.items()},
        }
        notes = [f"{name}: {interval} if families are drawn again" for name, interval in by_family.items()]
        scores = {name: TaskScores.of(np.asarray(values)) for name, values in rows.items()}
        return TaskReport(
            "meta-reinforcement learning, held-out tasks", "success", settings, scores, notes, extra=extra
        )

    def glimpse(self, folder: Path) -> None:
        """Nothing: attention maps are drawn on the way, and the rest compares before and after."""

    def pictures(self, folder: Path) -> None:
        """How the attention's entropy changed, and where the policy looks before and after it is adapted."""
        draw_evolution(self.trainer.attention_analyzer, folder / "attention_entropy.png")
        worlds, steps = self.worlds["test"], max(self.loop.test_steps)
        shown = self.trainer.attention_after(worlds.first(SHOWN), (0, steps), self.config.seed + TEST_SEED, worlds)
        draw_before_and_after(shown, folder / "attention_adapted.png")

    def state_dict(self) -> dict[str, Any]:
        """The trainer's, and what pre-training was."""
        return {"trainer": self.trainer.state_dict(), "pretraining": self.pretraining}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what :meth:`state_dict` gave."""
        self.trainer.load_state_dict(state["trainer"])
        self.pretraining = {str(name): float(value) for name, value in state["pretraining"].items()}


@rehearsed(shrink)
def train(config: MetaRLConfig, run: Run) -> None:
    """Pre-train, meta-train from the last checkpoint if there is one, then measure the best."""
    seed_everything(config.seed)
    session = MetaRLSession(config, run.path)
    begun = run.checkpoints.latest() is not None
    if not (begun or session.pretrain(run)) or not fit(config.meta_rl.loop, session, run):
        run.finish("stopped")
        return
    report = _measure(session, run.checkpoints.for_evaluation())
    report.save(run.path / "evaluation.json")
    session.pictures(run.path)
    for table in report.tables():
        show(table)
    run.finish("complete")


def evaluate(config: MetaRLConfig, request: EvaluationRequest) -> Reportable:
    """The policy of a run on held-out tasks, beside its controls.

    Raises:
        UserError: no checkpoint, or one that does not fit.
    """
    path = request.checkpoint if request.run is None else request.run.checkpoints.for_evaluation()
    if path is None:
        raise UserError("controls stand beside every learner; name a run folder: python evaluate.py runs/NAME/0")
    seed_everything(config.seed)
    return _measure(MetaRLSession(config, None), path)


def _measure(session: MetaRLSession, path: Path) -> Reportable:
    content = load_checkpoint(path)
    restore(session, content, path)
    return session.evaluate(
        {"checkpoint_of_step": float(content["step"]), "training_cpu_seconds": float(content["cpu_seconds"])}
    )
