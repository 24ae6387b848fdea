"""Algorithm Distillation: collect learning histories, learn to predict their actions, act on tasks never seen."""

import math
import time
from functools import partial

import torch
from torch import Tensor, nn

from agents.in_context.agent import InContextAgent
from agents.in_context.model import InContextModel, Steps, action_loss
from agents.protocol import Agent
from rl_suite.checkpoint import read_checkpoint
from rl_suite.cli import show
from rl_suite.data_parallel import current
from rl_suite.distillation.attention.probe import attention_values
from rl_suite.distillation.collect import collect, pin, read_own
from rl_suite.distillation.config import DistillationConfig, FitSection
from rl_suite.distillation.dataset import Windows
from rl_suite.distillation.histories import Histories, Manifest, load_histories
from rl_suite.distillation.scorecard import REGRET, TrialReport
from rl_suite.distillation.sizes import shrink
from rl_suite.distillation.sources.players import make_player
from rl_suite.distillation.sources.sources import make_histories
from rl_suite.distillation.worlds import TaskFamily
from rl_suite.errors import NonFiniteError, UserError
from rl_suite.evaluation.evaluate import EvaluationSpec, evaluate_agent, evaluate_all
from rl_suite.evaluation.report import EvaluationResult
from rl_suite.evaluation.sizes import tell_of_fewer
from rl_suite.experiments import EvaluationRequest
from rl_suite.finite import bad_tensor, require_finite_tensors
from rl_suite.progress import ProgressBar
from rl_suite.rehearsal import rehearsed
from rl_suite.run import Run
from rl_suite.seeding import seed_everything

PROBES = 16  # windows whose attention is followed during training


@rehearsed(shrink)
def train(config: DistillationConfig, run: Run) -> None:
    """Histories, training, temperature, evaluation; each goes on where it was stopped."""
    seed_everything(config.seed)
    settings = config.distillation
    family = TaskFamily.named(settings.world.id, settings.world.options)
    histories = collect_histories(config, family, run)
    if histories is None:
        run.finish("stopped")
        return
    model = build_model(config, family)
    if not fit(config, family, model, histories, run):
        run.finish("stopped")
        return
    temperature = choose_temperature(config, family, model)
    run.log(settings.fit.steps, {"eval/temperature": temperature})
    run.save_best({"model": model.state_dict(), "temperature": temperature})
    report = evaluate(config, EvaluationRequest(run=run))
    report.save(run.path / "evaluation.json")
    for table in report.tables():
        show(table)
    run.finish("complete")


def collect_histories(config: DistillationConfig, family: TaskFamily, run: Run) -> Histories | None:
    """The learning histories of this run, from disk as far as they are there; None if a signal stopped it."""
    source, options = config.distillation.source, config.distillation.world.options
    if source.folder is not None:
        histories = read_own(source.folder, options, family)
        pin(source.folder, run.path)
        return histories
    plan = Manifest(
        env_id=family.env_id,
        env_options=dict(options),
        source=source.model_dump(mode="json", exclude={"folder", "processes"}),
        split="train",
        episode_length=family.episode_steps,
        n_actions=family.n_actions,
        seed=config.seed,
        histories=source.histories,
        shards=[],
    )
    folder = run.path / "histories"
    with ProgressBar("histories", source.histories) as progress:
        rebuilt = collect(
            folder,
            plan,
            source.shard_size,
            partial(make_histories, family, source),
            progress.update,
            lambda: run.stop_requested,
            source.processes,
        )
    for line in rebuilt:
        show(line)
    if run.stop_requested:
        return None
    return load_histories(folder)[0]


def build_model(config: DistillationConfig, family: TaskFamily) -> InContextModel:
    """The model that the configuration describes, for the spaces of the world."""
    world = family.make(1, "train")
    try:
        model = InContextModel(world.observation_space, world.action_space, **config.distillation.model.model_dump())
    except ValueError as error:
        raise UserError(f"distillation.model: {error}") from None
    return model.to(device_of(config))


def device_of(config: DistillationConfig) -> str:
    """ "cpu" or "cuda"."""
    return ("cuda" if torch.cuda.is_available() else "cpu") if config.device == "auto" else config.device


def learning_rate_factor(step: int, fit: FitSection) -> float:
    """Linear warm-up, then a cosine down to the final learning rate; a factor on the learning rate."""
    if step < fit.warmup:
        return (step + 1) / fit.warmup
    progress = (step - fit.warmup) / max(1, fit.steps - fit.warmup)
    last = fit.final_learning_rate / fit.learning_rate
    return last + (1 - last) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def fit(config: DistillationConfig, family: TaskFamily, model: InContextModel, histories: Histories, run: Run) -> bool:
    """Train to ``fit.steps``, from the last checkpoint if there is one; False if a signal stopped it."""
    settings, device = config.distillation.fit, device_of(config)
    windows, optimizer, team = make_windows(config, model, histories), make_optimizer(model, settings), current()
    probe = Steps(
        *(field.to(device) for field in windows.batch(settings.steps, PROBES)[0])
    )  # a draw that no update uses
    step, spent = resume(run, model, optimizer)
    team.begin(model, step)
    began = time.process_time() - spent
    with ProgressBar("training", settings.steps) as progress:
        while step < settings.steps:
            stop = run.stop_requested
            set_learning_rate(optimizer, step, settings)
            loss, accuracy, _ = update(model, optimizer, windows, step, settings, stop)
            step += 1
            if step % settings.log_every == 0 or step == settings.steps:
                rate = optimizer.param_groups[0]["lr"]
                values = {"train/loss": loss, "train/accuracy": accuracy, "train/learning_rate": rate}
                run.log(step, {**values, "time/cpu_seconds": time.process_time() - began})
                progress.update(step, loss=loss, accuracy=accuracy)
            if step % settings.validate_every == 0:
                looks = attention_values(model, probe)
                run.log(step, {**validate(config, family, model), **looks})
            if step % settings.checkpoint_every == 0 or step == settings.steps or stop:
                state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
                run.save(step, {**state, "step": step, "cpu_seconds": time.process_time() - began})
            if stop and step < settings.steps:
                return False
    return True


def set_learning_rate(optimizer: torch.optim.Optimizer, step: int, settings: FitSection) -> None:
    """That of this step."""
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate * learning_rate_factor(step, settings)


def make_windows(config: DistillationConfig, model: InContextModel, histories: Histories) -> Windows:
    """The batches of training."""
    settings = config.distillation.fit
    try:
        return Windows(
            histories,
            model.n_actions,
            settings.window,
            settings.from_start,
            settings.permute_actions,
            model.layout,
            config.seed,
            settings.shuffle,
        )
    except ValueError as error:
        raise UserError(f"distillation.fit: {error}") from None


def make_optimizer(model: InContextModel, settings: FitSection) -> torch.optim.Optimizer:
    """AdamW with decoupled weight decay."""
    return torch.optim.AdamW(
        model.parameters(),
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        weight_decay=settings.weight_decay,
        fused=True,
    )


def resume(run: Run, model: InContextModel, optimizer: torch.optim.Optimizer) -> tuple[int, float]:
    """Put back the last checkpoint; returns the steps and CPU seconds that were spent until then."""
    saved = run.checkpoints.read_latest()
    if saved is None:
        run.go_on_from(None)
        return 0, 0.0
    try:
        require_finite_tensors(saved.content, f"in {saved.path}")
        model.load_state_dict(saved.content["model"])
        optimizer.load_state_dict(saved.content["optimizer"])
        step, spent = int(saved.content["step"]), float(saved.content["cpu_seconds"])
    except (KeyError, RuntimeError, ValueError, TypeError, AttributeError):
        raise UserError(f"{saved.path}: does not fit this world and model; choose another runs_dir") from None
    run.go_on_from(saved)
    return step, spent


def update(
    model: InContextModel,
    optimizer: torch.optim.Optimizer,
    windows: Windows,
    step: int,
    settings: FitSection,
    stop: bool = False,
) -> tuple[float, float, bool]:
    """One optimizer step; returns loss, accuracy, and whether process 0 asked to ``stop``.

    Every process of a team draws the whole batch and computes its share, weighted by the labels in it: the sum of the
    gradients is the gradient of the whole.
    """
    team, device = current(), next(model.parameters()).device
    model.train()
    optimizer.zero_grad(set_to_none=True)
    steps, labels = windows.batch(step, settings.batch_size)
    total = accuracy = 0.0
    size = settings.batch_size // settings.accumulate
    for begin in range(0, settings.batch_size, size):
        whole = slice(begin, begin + size)
        part = team.rows(whole)
        inputs = type(steps)(*(field[part].to(device) for field in steps))
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.bfloat16):
            logits, _ = model(inputs)
        loss, right = action_loss(logits, labels[part].to(device))
        weight = labelled(labels[part]) / max(1, labelled(labels[whole])) / settings.accumulate
        (loss * weight).backward()  # type: ignore[no-untyped-call]
        total += loss.item() * weight
        accuracy += right.item() * weight
    total, accuracy, stops = team.add_up(model.parameters(), [total, accuracy, float(stop)])
    norm = nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
    if not math.isfinite(total) or not math.isfinite(norm):
        raise NonFiniteError(
            f"step {step + 1}: loss {total}, gradient norm {norm.item()}; lower distillation.fit.learning_rate"
        )
    optimizer.step()
    return total, accuracy, stops > 0


def labelled(labels: Tensor) -> int:
    """Steps that have a label, of (B, T) whole numbers or (B, T, A) probabilities."""
    there = (labels > 0).any(-1) if labels.ndim == 3 else labels >= 0
    return int(there.sum())


def make_agent(config: DistillationConfig, model: InContextModel, temperature: float) -> InContextAgent:
    """The model at work, as the configuration asks for it."""
    acting = config.distillation.acting
    return InContextAgent(model, acting.window, temperature, acting.mode, config.evaluation.seed)


def trial_spec(
    config: DistillationConfig, family: TaskFamily, split: str, episodes: int, trials: int
) -> EvaluationSpec:
    """Trials of ``episodes`` episodes on tasks of ``split``, about ``trials`` of them."""
    settings = config.evaluation
    n_tasks = min(settings.n_tasks, len(family.tasks(split)), trials)
    return EvaluationSpec(
        env_id=family.env_id,
        n_tasks=n_tasks,
        episodes_per_task=max(1, trials // n_tasks),
        n_envs=settings.n_envs,
        seed=settings.seed,
        deterministic=settings.deterministic,
        resamples=settings.resamples,
        confidence=settings.confidence,
        make_envs=lambda n: family.trials(n, episodes, split),
    )


def validate(config: DistillationConfig, family: TaskFamily, model: InContextModel) -> dict[str, float]:
    """In-context return on validation tasks, at temperature 1."""
    trials = config.distillation.trials
    spec = trial_spec(config, family, "validation", trials.validation_episodes, trials.validation_trials)
    result = evaluate_agent(make_agent(config, model, 1.0), spec)
    values = {"eval/mean_return": float(result.returns.mean())}
    if result.curve is not None and result.curve.shape[2] > 1:
        values["eval/first_episode_return"] = float(result.curve[:, :, 0].mean())
        values["eval/last_episode_return"] = float(result.curve[:, :, -1].mean())
    if REGRET in result.metrics:
        values["eval/regret"] = float(result.metrics[REGRET].mean())
    return values


def choose_temperature(config: DistillationConfig, family: TaskFamily, model: InContextModel) -> float:
    """The temperature that earns most on training tasks."""
    acting = config.distillation.acting
    spec = trial_spec(config, family, "train", config.distillation.trials.episodes, acting.temperature_trials)
    if len(acting.temperatures) == 1 or spec.deterministic:
        return acting.temperatures[0]
    scores = [goodness(evaluate_agent(make_agent(config, model, t), spec)) for t in acting.temperatures]
    return acting.temperatures[scores.index(max(scores))]


def goodness(result: EvaluationResult) -> float:
    """Mean return, or minus the mean regret where the world knows it: the same with less noise."""
    return -float(result.metrics[REGRET].mean()) if REGRET in result.metrics else float(result.returns.mean())


def evaluate(config: DistillationConfig, request: EvaluationRequest) -> TrialReport:
    """The agent of a run on held-out tasks, with its source and other baselines in the same trials.

    Raises:
        UserError: no checkpoint, or one that does not fit.
    """
    settings = config.distillation
    family = TaskFamily.named(settings.world.id, settings.world.options)
    tell_of_fewer(config.evaluation.n_tasks, len(family.tasks("test")))
    trials = config.evaluation.n_tasks * config.evaluation.episodes_per_task
    spec = trial_spec(config, family, "test", settings.trials.episodes, trials)
    agents: dict[str, Agent] = {}
    if request.run is not None or request.checkpoint is not None:
        agents["in-context"] = load_agent(config, request)
    names = [request.baseline] if request.baseline else settings.trials.baselines
    for name in names:
        if name == "source" and settings.source.folder is not None:
            show(f"{settings.source.folder}: whoever wrote these histories cannot play beside")
        elif name not in ("random", "oracle"):  # always there
            label = f"source ({settings.source.name})" if name == "source" else name
            agents[label] = make_player(name, family, settings.source, config.evaluation.seed)
    with ProgressBar("evaluation", (len(agents) + 1) * spec.n_tasks * spec.episodes_per_task) as progress:
        return TrialReport(evaluate_all(agents, spec, progress.update, f"{config.experiment}, held-out tasks"))


def player(config: DistillationConfig, request: EvaluationRequest) -> tuple[Agent, EvaluationSpec]:
    """The trained agent of a run and a trial on a held-out task, to be watched."""
    family = TaskFamily.named(config.distillation.world.id, config.distillation.world.options)
    return load_agent(config, request), trial_spec(config, family, "test", config.distillation.trials.episodes, 1)


def load_agent(config: DistillationConfig, request: EvaluationRequest) -> InContextAgent:
    """The trained agent of a run folder or checkpoint file."""
    family = TaskFamily.named(config.distillation.world.id, config.distillation.world.options)
    model = build_model(config, family)
    if request.run is not None:
        path, content, _ = request.run.checkpoints.read_for_evaluation(device_of(config))
    elif request.checkpoint is not None:
        path, content, _ = read_checkpoint(request.checkpoint, device_of(config))
    else:
        raise UserError("name a run folder or a checkpoint")
    try:
        model.load_state_dict(content["model"])
    except (KeyError, RuntimeError, TypeError, AttributeError):
        raise UserError(f"{path}: does not fit {family.env_id} with this model") from None
    bad = bad_tensor(model.state_dict())
    if bad is not None:
        raise UserError(f"{path}: {bad} holds NaN or infinity; train again")
    if config.distillation.acting.window > config.distillation.fit.window:
        show(
            f"acting.window={config.distillation.acting.window} is longer than the {config.distillation.fit.window} "
            "steps of training: relative positions allow it, but attention over such distances was never practised"
        )
    return make_agent(config, model, content.get("temperature", config.distillation.acting.temperatures[0]))
