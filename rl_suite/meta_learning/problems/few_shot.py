"""``problem: few_shot``: a metric learner on episodes of pictures, measured beside its baselines and controls."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.table import Table
from torch import Tensor

from rl_suite.checkpoint import write_atomically
from rl_suite.meta_learning.config import MetaLearningConfig
from rl_suite.meta_learning.data.episodes import EpisodeSource
from rl_suite.meta_learning.data.jitter import Jitter
from rl_suite.meta_learning.data.official_runs import find_runs, read_runs
from rl_suite.meta_learning.learners.few_shot import FewShotLearner
from rl_suite.meta_learning.learners.few_shot_encoder import ConvEncoder
from rl_suite.meta_learning.learners.few_shot_evaluation import (
    JitteredCopies,
    accuracies,
    encode,
    pixel_learner,
    run_accuracies,
)
from rl_suite.meta_learning.learners.few_shot_heads import Head, LinearHead
from rl_suite.meta_learning.metrics import TaskReport, TaskScores, plain_json
from rl_suite.meta_learning.problems.episode_pictures import EPISODES, show_episodes
from rl_suite.meta_learning.problems.few_shot_pictures import draw_map, project
from rl_suite.meta_learning.problems.pictures import TEST_SEED, PictureEpisodes, build_episodes
from rl_suite.meta_learning.sections import MetaLearningSection
from rl_suite.meta_learning.session import Validation, cosine
from rl_suite.progress import ProgressBar

MANY_WAY = 20  # classes of an episode in the official one-shot runs (Lake et al. 2015)


def build_learner(section: MetaLearningSection) -> FewShotLearner:
    """The untrained learner for pictures of the configured size; its weights come from torch's global generator."""
    settings, pictures = section.few_shot, section.pictures
    learner = FewShotLearner(
        section.learner,
        ConvEncoder(pictures.channels, settings.widths),
        distance=settings.distance,
        learning_rate=section.loop.outer_lr,
        weight_decay=settings.weight_decay,
        symmetric=settings.symmetric,
        autocast=settings.autocast,
    )
    return learner.build(torch.zeros(1, pictures.channels, pictures.size, pictures.size))


def build(config: MetaLearningConfig) -> "FewShotSession":
    """The session of a configuration."""
    section = config.meta_learning
    return FewShotSession(build_learner(section), build_episodes(section.pictures, config.seed), config)


class FewShotSession:
    """A metric learner and its episodes, as the training loop sees them."""

    def __init__(self, learner: FewShotLearner, episodes: PictureEpisodes, config: MetaLearningConfig):
        self.learner, self.episodes, self.config = learner, episodes, config
        self.loop, self.settings = config.meta_learning.loop, config.meta_learning.few_shot

    @property
    def total_steps(self) -> int:
        """Steps of a whole training run."""
        return self.loop.steps

    def step(self, step: int) -> dict[str, float]:
        """Learn from the episodes of this step."""
        rate = cosine(step, self.loop)
        self.learner.set_learning_rate(rate)
        tasks = self.episodes.train.batch(step * self.loop.tasks_per_step, self.loop.tasks_per_step)
        values = self.learner.meta_train_step(tasks)
        return {**{f"train/{name}": value for name, value in values.items()}, "train/learning_rate": rate}

    def validate(self) -> Validation:
        """Accuracy on validation episodes."""
        source = self.episodes.validation
        features = encode(self.learner, source.data.images)
        found = accuracies(self.learner.require_head(), features, source, self.loop.validation_tasks)
        accuracy = found.interval.estimate
        return Validation({"eval/accuracy": accuracy}, accuracy)

    def evaluate(self, training: Mapping[str, float]) -> "FewShotReport":
        """The learner, its baselines and its controls on held-out classes, by several kinds of episodes."""
        rows = self._rows()
        protocols = list(self._protocols())
        tables: dict[str, dict[str, TaskScores]] = {}
        with ProgressBar("evaluation", len(rows) * len(protocols)) as progress:
            for name, source, number in protocols:
                scores: dict[str, TaskScores] = {}
                for row in rows:
                    scores[row.name] = accuracies(row.head, row.features, source, number, shuffle_labels=row.shuffled)
                    progress.update(len(scores) + len(rows) * len(tables))
                tables[name] = scores
        official = self._official()
        settings = {**self.episodes.settings, "algorithm": self.learner.algorithm, **training}
        return FewShotReport(self.learner.algorithm, settings, {**tables, **official})

    def glimpse(self, folder: Path) -> None:
        """Features of unseen classes."""
        draw_map(self.learner, self.episodes.pictures.test, folder / "map.png")

    def pictures(self, folder: Path) -> None:
        """Episodes with answers, in one group where that can be; features of unseen classes, also for TensorBoard."""
        inside = [source for _, source, _ in self._protocols() if source.within and source.n_way < MANY_WAY]
        source = next(iter(inside), self.episodes.test)
        show_episodes(self.learner.outputs, [source.task(i) for i in range(EPISODES)], folder)
        draw_map(self.learner, self.episodes.pictures.test, folder / "map.png")
        project(self.learner, self.episodes.pictures.test, folder)

    def state_dict(self) -> dict[str, Any]:
        """The learner's; episodes are numbered, so that they have no state."""
        return self.learner.get_meta_state()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back the learner."""
        self.learner.load_meta_state(state)

    def _rows(self) -> list["_Row"]:
        """What stands in every table."""
        images, head = self.episodes.test.data.images, self.learner.require_head()
        trained = encode(self.learner, images)
        rows = [_Row("trained", head, trained)]
        around = self._copies()
        if around is not None:
            name = f"trained, mean of {around.copies + 1} jittered copies"
            rows.append(_Row(name, head, encode(self.learner, images, around)))
        untrained = self._untrained()
        pixels = pixel_learner().build(images)
        return [
            *rows,
            _Row("fine-tuning: linear head on its features", LinearHead(), trained),
            _Row("nearest centroid on pixels", pixels.require_head(), encode(pixels, images)),
            _Row("untrained encoder", untrained.require_head(), encode(untrained, images)),
            _Row("trained, support labels shuffled", head, trained, shuffled=True),
        ]

    def _protocols(self) -> Iterator[tuple[str, EpisodeSource, int]]:
        """Name, episodes and their number, as far as there are enough classes."""
        source, number = self.episodes.test, self.loop.test_tasks
        data = source.data
        largest = max(data.groups.count(group) for group in set(data.groups))
        several = len(set(data.groups)) > 1
        shape = f"{source.n_way}-way {source.k_shot}-shot"
        yield shape, source, number
        if several and largest >= source.n_way:
            yield f"{shape}, within one group", replace(source, within=1.0), number
        if data.n_classes >= MANY_WAY > source.n_way:
            yield f"{MANY_WAY}-way 1-shot", replace(source, n_way=MANY_WAY, k_shot=1), number
        if largest >= MANY_WAY:
            one_each = EpisodeSource(data, MANY_WAY, 1, 1, TEST_SEED, within=1.0)
            yield f"{MANY_WAY}-way 1-shot, one query each, within one group", one_each, self.settings.one_shot_episodes

    def _official(self) -> dict[str, dict[str, TaskScores]]:
        """The one-shot runs that come with Omniglot, where they are."""
        pictures = self.config.meta_learning.pictures
        path = self.settings.runs or find_runs()
        if path is None or not pictures.drawings:
            return {}
        runs = read_runs(Path(path), pictures.size, pictures.framed)
        around = self._copies()
        scores = {"trained": run_accuracies(self.learner, runs)}
        if around is not None:
            scores[f"trained, mean of {around.copies + 1} jittered copies"] = run_accuracies(self.learner, runs, around)
        scores["nearest centroid on pixels"] = run_accuracies(pixel_learner(), runs)
        scores["untrained encoder"] = run_accuracies(self._untrained(), runs)
        joint = run_accuracies(self.learner, runs, transductive="assignment")
        scores["trained, all queries of a run assigned jointly (uses the design of the test)"] = joint
        return {"official one-shot runs": scores}

    def _copies(self) -> JitteredCopies | None:
        section, copies = self.config.meta_learning.pictures.jitter, self.settings.test_copies
        if section is None or copies == 0:
            return None
        jitter = Jitter(**{name: value * self.settings.test_jitter for name, value in section.model_dump().items()})
        return JitteredCopies(jitter, copies)

    def _untrained(self) -> FewShotLearner:
        with torch.random.fork_rng():
            torch.manual_seed(self.config.seed)
            return build_learner(self.config.meta_learning)


class _Row(NamedTuple):
    """One row of a table: which head judges which features."""

    name: str
    head: Head
    features: Tensor
    shuffled: bool = False


@dataclass(frozen=True)
class FewShotReport:
    """Accuracies by kind of episodes and by row."""

    algorithm: str
    settings: Mapping[str, Any]
    results: Mapping[str, Mapping[str, TaskScores]]

    def tables(self) -> list[Table | str]:
        """One table for each kind of episodes."""
        title = f"{self.algorithm}: accuracy on unseen classes"
        return [
            table
            for name, scores in self.results.items()
            for table in TaskReport(f"{title}, {name}", "accuracy", {}, scores).tables()
        ]

    def as_json(self) -> dict[str, Any]:
        """Plain values, every episode among them."""
        results = {
            name: {row: found.as_json() for row, found in scores.items()} for name, scores in self.results.items()
        }
        content = {"title": f"{self.algorithm}: accuracy on unseen classes", "settings": dict(self.settings), **results}
        plain: dict[str, Any] = plain_json(content)
        return plain

    def save(self, path: Path) -> None:
        """Write ``evaluation.json``, whole or not at all."""
        write_atomically(path, (json.dumps(self.as_json(), allow_nan=False) + "\n").encode())
