"""``experiment=continual_digits``: sequences of image classification tasks, one network per strategy."""

from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from rl_suite.errors import UserError
from rl_suite.loading import require_known
from rl_suite.meta_learning.config import MetaLearningConfig
from rl_suite.meta_learning.continual.config import ContinualSection, SequenceName
from rl_suite.meta_learning.continual.images import load_images
from rl_suite.meta_learning.continual.learner import ContinualLearner, own_options
from rl_suite.meta_learning.continual.lessons.plan import Cell, Lessons
from rl_suite.meta_learning.continual.lessons.session import LessonsSession, chosen
from rl_suite.meta_learning.continual.sequences import Images, TaskSequence, permuted_tasks, split_tasks
from rl_suite.meta_learning.continual.strategies.registry import STRATEGIES

TOLD_THE_TASK = ("split_task",)  # sequences in which a learner knows which task it is asked about
NEEDS_TO_BE_TOLD = ("progressive",)
NOTES = {
    "permuted": "Every task has its own permutation of the pixels; the learner is not told which.",
    "split_task": "Every task has its own classes, and the learner is told which task it is asked about.",
    "split_domain": "Is it the first or the second class of its task? The learner is not told which task.",
    "split_class": "Which of all classes seen so far is it? The learner is not told which task.",
}


class ImagePupil:
    """A ``ContinualLearner`` on one sequence of images."""

    def __init__(self, cell: Cell, section: ContinualSection, images: Images, seed: int):
        own_seed = int(np.random.SeedSequence((seed, cell.repeat)).generate_state(1)[0])
        self.sequence = make_sequence(cell.sequence, images, section.tasks, own_seed)
        options = section.strategies_of(sequence_name(cell.sequence)).model_dump()
        own = own_options(cell.strategy)
        self.learner = ContinualLearner(
            network(self.sequence, section.hidden, own_seed),
            cell.strategy,
            buffer_size=options["buffer_size"],
            outputs=self.sequence.outputs,
            learning_rate=section.learning_rate,
            batch_size=section.batch_size,
            seed=own_seed,
            **{name: value for name, value in options.items() if name in own},
        )
        self.epochs = section.epochs

    def measure(self) -> list[float]:
        """Accuracy on the test examples of every task."""
        return [self.learner.evaluate_task(part, task)["accuracy"] for task, part in enumerate(self.sequence.test)]

    def teach(self, task: int) -> float:
        """All epochs on one task."""
        return float(self.learner.train_task(self.sequence.train[task], task, self.epochs)["final_train_loss"] or 0.0)

    def state_dict(self) -> dict[str, Any]:
        """The learner's."""
        return self.learner.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned."""
        self.learner.load_state_dict(dict(state))

    def knowledge(self) -> dict[str, Any]:
        """The network and the tasks that were seen."""
        return {"model": self.learner.model.state_dict(), "seen": list(self.learner.outputs.seen)}

    def remember(self, knowledge: Mapping[str, Any]) -> None:
        """Answer as the learner that gave this knowledge."""
        for task in knowledge["seen"]:
            self.learner.outputs.begin(task)
            self.learner.strategy.begin_task(task)
        self.learner.model.load_state_dict(knowledge["model"])


def build(config: MetaLearningConfig) -> LessonsSession:
    """The session that ``meta_learning.continual`` describes."""
    section = config.meta_learning.continual
    strategies = chosen(config.meta_learning.learner, list(STRATEGIES))
    cells = [
        Cell(sequence, strategy, repeat)
        for sequence in section.sequences
        for strategy in strategies
        for repeat in range(section.repeats)
        if strategy not in NEEDS_TO_BE_TOLD or sequence in TOLD_THE_TASK
    ]
    images = load_images(section.data)
    if set(section.sequences) != {"permuted"} and images.n_classes % section.tasks:
        raise UserError(
            f"meta_learning.continual.tasks={section.tasks}: {images.n_classes} classes cannot be dealt out evenly"
        )
    make = partial(_make, section=section, images=images, seed=config.seed)
    settings = section.model_dump(mode="json", exclude={"per_sequence", "strategies"})
    settings |= {f"strategy_{name}": value for name, value in section.strategies.model_dump().items()}
    return LessonsSession(images.name, "accuracy", Lessons(cells, section.tasks), make, settings, NOTES)


def sequence_name(text: str) -> SequenceName:
    """The kind of a cell's sequence."""
    require_known(text, NOTES, "sequence")
    return cast(SequenceName, text)


def make_sequence(name: str, images: Images, n_tasks: int, seed: int) -> TaskSequence:
    """One kind of sequence out of a data set."""
    if name == "permuted":
        return permuted_tasks(images, n_tasks, seed)
    scenario: Any = name.removeprefix("split_")
    return split_tasks(images, n_tasks, scenario, seed)


def network(sequence: TaskSequence, hidden: list[int], seed: int) -> nn.Sequential:
    """A multi-layer perceptron on flat images; the same for every strategy."""
    sizes = [sequence.train[0][0].shape[1], *hidden]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(sizes[-1], sequence.n_outputs))


def _make(cell: Cell, section: ContinualSection, images: Images, seed: int) -> ImagePupil:
    return ImagePupil(cell, section, images, seed)
