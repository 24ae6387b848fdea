"""The relatives of MAML; each writes only its difference."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Unpack

import torch
from torch import Tensor, nn

from rl_suite.data_parallel import current
from rl_suite.errors import UserError
from rl_suite.meta_learning.checks import readable_errors, require_finite_path, require_model
from rl_suite.meta_learning.engine import Combine, Mode, over_tasks
from rl_suite.meta_learning.functional import BatchNormPolicy, FunctionalModule
from rl_suite.meta_learning.learners.maml import MAML, Encoded
from rl_suite.meta_learning.learners.options import Options
from rl_suite.meta_learning.rules import Weights, meta_sgd, meta_sgd_rates, per_step, per_step_rates
from rl_suite.meta_learning.tasks import Task, Tasks
from rl_suite.meta_learning.together import mean_over_team

SAME = 1e-4  # relative difference by which a head may miss the module's own outputs


class MAMLFirstOrder(MAML):
    """MAML whose inner gradients are constants to the outer one (FOMAML, Finn et al. 2017, section 5.2)."""

    def __init__(self, model: nn.Module, *args: Any, **kwargs: Any):
        super().__init__(model, *args, **{**kwargs, "order": "first"})


class MAMLSecondOrder(MAML):
    """MAML with the whole meta-gradient."""

    def __init__(self, model: nn.Module, *args: Any, **kwargs: Any):
        super().__init__(model, *args, **{**kwargs, "order": "second"})


class MetaSGD(MAML):
    """Learned inner rates, one for every single weight (Li et al. 2017); ``lr_inner`` is where they begin.

    Rates that are good for one step can make ten explode; adaptation then stops with the step and the name.
    """

    rule = staticmethod(meta_sgd)

    def initial_rates(self) -> dict[str, Tensor]:
        """One rate per weight."""
        weights = dict(self.model.named_parameters())
        return meta_sgd_rates({name: weights[name].detach() for name in self.adapted_names()}, self.lr_inner)


class MAMLPlusPlus(MAML):
    """MAML++ (Antoniou et al. 2019): a learned rate per step and layer, and an outer loss on every inner step.

    The weights of the multi-step loss begin equal and move to the last step over ``anneal_steps`` outer steps.
    Statistics of batch normalisation per step are ``batch_norm="per_step"``, the default here.
    """

    rule = staticmethod(per_step)

    def __init__(
        self,
        model: nn.Module,
        lr_inner: float = 0.01,
        lr_meta: float = 0.001,
        num_inner_steps: int = 5,
        anneal_steps: int = 1000,
        **options: Unpack[Options],
    ):
        self.anneal_steps = anneal_steps
        settings: Options = {"batch_norm": "per_step", **options}
        super().__init__(model, lr_inner, lr_meta, num_inner_steps, "second", **settings)

    def initial_rates(self) -> dict[str, Tensor]:
        """One rate per parameter tensor and step."""
        weights = dict(self.model.named_parameters())
        adapted = {name: weights[name].detach() for name in self.adapted_names()}
        return per_step_rates(adapted, self.lr_inner, self.num_inner_steps)

    def step_weights(self) -> list[float]:
        """Weight of the query loss after inner step 1, ..., K: from 1/K each to 1 for the last."""
        k = self.num_inner_steps
        early = max(0.0, 1 - self.outer_steps / self.anneal_steps) / k
        return [early] * (k - 1) + [1 - early * (k - 1)]

    def outer_loss(self, losses: Callable[[int], Tensor], last: int) -> Tensor:
        """The annealed sum over inner steps."""
        weighted = [w * losses(i + 1) for i, w in enumerate(self.step_weights()) if w > 0]
        return torch.stack(weighted).sum(0)


class ANIL(MAML):
    """Almost no inner loop (Raghu et al. 2020): only the head is adapted, and features are computed once per task.

    Args:
        model: a module whose last layer is the sub-module ``head``.
        head: its dotted name; default: the last child that has parameters of its own.
    """

    def __init__(
        self,
        model: nn.Module,
        lr_inner: float = 0.01,
        lr_meta: float = 0.001,
        num_inner_steps: int = 5,
        order: Literal["first", "second"] = "second",
        head: str | None = None,
        **options: Unpack[Options],
    ):
        require_model(model)
        children = [name for name, _ in model.named_children()]
        if head is None and not children:
            raise UserError("ANIL needs a module with a head; this one has no sub-modules")
        own = {name.split(".")[0] for name, _ in model.named_parameters()}  # without second names of shared modules
        self.head = next((name for name in reversed(children) if name in own), "") if head is None else head
        if self.head not in dict(model.named_modules()):
            raise UserError(f"the model has no sub-module {self.head!r}; its children: {', '.join(children)}")
        policy: BatchNormPolicy = "frozen" if options.get("batch_norm") == "frozen" else "batch"
        self.head_function = FunctionalModule(model.get_submodule(self.head), policy)
        self._checked = False
        super().__init__(model, lr_inner, lr_meta, num_inner_steps, order, **options)

    def adapted_names(self) -> tuple[str, ...]:
        """The parameters of the head."""
        return tuple(name for name in super().adapted_names() if name.startswith(f"{self.head}."))

    def encode(self, weights: Weights, x: Tensor, step: int, mode: Mode, judged: bool, context: int = 0) -> Encoded:
        """What enters the head, of the context, too."""

        def features(w: Weights, inputs: Tensor) -> Tensor:
            return self.function.capture(w, inputs, self.head, step, judged, context)

        over_stack = torch.vmap(features, randomness="different")
        found = Encoded(over_stack(dict(weights), x) if mode.stacked else features(weights, x))
        if not self._checked and not mode.traced:
            self._check(weights, x, found, step, mode, judged, context)
        return found

    def encode_task(self, weights: Weights, task: Task, step: int, mode: Mode, judged: bool) -> tuple[Encoded, Encoded]:
        """Support set and queries; where both are normalised by the support set, in one call."""
        if not self.function.by_support:
            return super().encode_task(weights, task, step, mode, judged)
        axis = 1 if mode.stacked else 0
        given = task.support_x.shape[axis]
        both = self.encode(weights, torch.cat([task.support_x, task.query_x], axis), step, mode, judged, given).x
        support, query = torch.split(both, [given, both.shape[axis] - given], axis)
        return Encoded(support), Encoded(query)

    def apply_adapted(self, weights: Weights, encoded: Encoded, step: int, mode: Mode, judged: bool) -> Tensor:
        """The head on features."""
        prefix = f"{self.head}."
        own = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
        call = self.head_function.forward_tasks if mode.stacked else self.head_function.forward
        return call(own, encoded.x, step, judged)

    def _check(
        self, weights: Weights, x: Tensor, features: Encoded, step: int, mode: Mode, judged: bool, context: int
    ) -> None:
        """Nothing may come after the head: its outputs must be the module's."""
        self._checked = True
        if self.function.draws:
            return
        with torch.no_grad():
            call = self.function.forward_tasks if mode.stacked else self.function.forward
            whole = call(weights, x, step, judged, context)
            part = self.apply_adapted(weights, features, step, mode, judged)
            part = part[:, context:] if mode.stacked else part[context:]
        if whole.shape != part.shape or not torch.allclose(whole, part, rtol=SAME, atol=SAME):
            raise UserError(f"ANIL's head must be the last layer, and the outputs of {self.head!r} are not the model's")


class Reptile(MAML):
    """Reptile (Nichol et al. 2018): move towards the adapted weights; no query gradient, no second order.

    ``lr_meta`` is the share of the way that an outer step goes (1 at the beginning, in the paper). The tasks' support
    and query examples are learned from alike.
    """

    def __init__(
        self,
        model: nn.Module,
        lr_inner: float = 0.01,
        lr_meta: float = 1.0,
        num_inner_steps: int = 5,
        **options: Unpack[Options],
    ):
        super().__init__(model, lr_inner, lr_meta, num_inner_steps, "first", **options)

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Plain interpolation."""
        return torch.optim.SGD([p for p in self.parameters() if p.requires_grad], self.lr_meta)

    def meta_train_step(self, tasks: Tasks) -> dict[str, float]:
        """Adapt to every task and move to the mean of the results; ``avg_task_loss`` is after adaptation."""
        weights, loss = self.function.weights, self._loss_of(Mode())

        def one(task: Task) -> tuple[dict[str, Tensor], float]:
            x, y = torch.cat([task.support_x, task.query_x]), torch.cat([task.support_y, task.query_y])
            with readable_errors():
                path = self._adapted(x, y, self.loop)
                require_finite_path(path, f"outer step {self.outer_steps + 1}")
                with torch.no_grad():
                    return path[-1], float(loss(path[-1], (x, y), self.loop.steps))

        axis = self._axis(tasks)
        found = over_tasks(one, tasks, "loop" if axis in ("vmap", "compile") else axis)
        ends: Sequence[dict[str, Tensor]] = [end for end, _ in found]
        parameters = {f"model.{name}": weights[name] for name in self.adapted_names()}
        gradients = {
            f"model.{name}": weights[name].detach() - torch.stack([end[name] for end in ends]).mean(0)
            for name in self.adapted_names()
        }
        mean = sum(value for _, value in found) / len(found)
        gradients, (average,) = mean_over_team(current(), gradients, [mean], tasks)
        norm = self._descend(parameters, gradients)
        self.outer_steps += 1
        self._observe(tasks)
        return {"meta_loss": average, "avg_task_loss": average, "gradient_norm": norm}


class MultiTaskMAML(MAML):
    """MAML over families of tasks whose losses are weighted by learned uncertainties (Kendall et al. 2018).

    ``J = mean_i (exp(-s_i) L_i + s_i / 2)`` with a learned ``s`` per family, so that a family of large losses does not
    drown the others, and none can be weighted away. Task ``i`` of a batch belongs to family ``i % num_tasks``.
    """

    def __init__(
        self,
        model: nn.Module,
        lr_inner: float = 0.01,
        lr_meta: float = 0.001,
        num_inner_steps: int = 5,
        order: Literal["first", "second"] = "first",
        num_tasks: int = 4,
        **options: Unpack[Options],
    ):
        if num_tasks < 1:
            raise UserError(f"num_tasks must be at least 1, not {num_tasks}")
        self.num_tasks = num_tasks
        super().__init__(model, lr_inner, lr_meta, num_inner_steps, order, **options)
        self.log_variances = nn.Parameter(torch.zeros(num_tasks))
        self.optimizer.add_param_group({"params": [self.log_variances]})

    @property
    def task_weights(self) -> Tensor:
        """(num_tasks,) the weights of the families, which sum to 1."""
        return (-self.log_variances.detach()).softmax(0)

    def combination(self) -> Combine:
        """The mean, weighted by the uncertainties."""
        return self._weigh

    def _weigh(self, parameters: Weights, losses: Tensor) -> Tensor:
        if losses.ndim == 2:
            raise UserError("MultiTaskMAML weighs tasks by itself; use fairness with another learner")
        s = parameters["log_variances"][torch.arange(len(losses), device=losses.device) % self.num_tasks]
        return ((-s).exp() * losses + s / 2).mean()
