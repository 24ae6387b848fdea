"""A learner of your own, as the documents show it: two methods, and it can be trained."""

import pytest
import torch
from torch import nn

from rl_suite.errors import NonFiniteError, UserError
from rl_suite.meta_learning import MAML, BaseMetaLearner, SinusoidTasks, Task


class MeanLearner(BaseMetaLearner):
    """Predicts the mean of the support targets, corrected by a learned factor."""

    def __init__(self, model, **kwargs):
        super().__init__(model, **kwargs)
        self.optimizer = torch.optim.SGD(self.parameters(), lr=self.settings["lr"])

    def meta_train_step(self, tasks):
        guesses = self.model(self.adapt_to_task((tasks.support_x, tasks.support_y)))
        loss = (guesses - tasks.query_y.mean(1)).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"loss": loss.item()}

    def adapt_to_task(self, support_data):
        return support_data[1].mean(1)


def test_a_learner_of_ones_own_is_trained():
    torch.manual_seed(0)
    learner = MeanLearner(nn.Linear(1, 1), lr=0.05)
    nn.init.constant_(learner.model.bias, 5.0)
    found = learner.fit(SinusoidTasks(10, 10, seed=0), steps=60, tasks_per_step=8)
    assert len(found) == 60
    assert sum(v["loss"] for v in found[-20:]) < 0.5 * sum(v["loss"] for v in found[:20])


def test_both_methods_must_be_written():
    with pytest.raises(TypeError, match="abstract"):
        BaseMetaLearner(nn.Linear(1, 1))


def test_fit_is_the_same_as_a_loop():
    tasks, ends = SinusoidTasks(5, 5, seed=3), []
    for way in ("fit", "loop"):
        torch.manual_seed(0)
        maml = MAML(nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1)), num_inner_steps=1)
        if way == "fit":
            maml.fit(tasks, 3, 4, start=20)
        else:
            for step in range(3):
                maml.meta_train_step(tasks.batch(20 + 4 * step, 4))
        ends.append(torch.cat([p.flatten() for p in maml.parameters()]))
    assert torch.equal(*ends)


def test_bad_input():
    learner = MeanLearner(nn.Linear(1, 1), lr=0.1)
    with pytest.raises(UserError, match="at least 1"):
        learner.fit(SinusoidTasks(5, 5, seed=0), 0)

    class Broken:
        def batch(self, start, size):
            return Task(*(torch.full((size, 2, 1), float("nan")) for _ in range(4)))

    with pytest.raises(NonFiniteError, match="outer step 1: loss is nan"):
        learner.fit(Broken(), 2)
