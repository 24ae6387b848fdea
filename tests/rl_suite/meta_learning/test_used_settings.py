"""No option does nothing: what a problem does not read is refused, and what it takes is read."""

import inspect

import pytest
import yaml

from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.config import Section
from rl_suite.errors import UserError
from rl_suite.experiments import load_experiment
from rl_suite.meta_learning.continual.learner import own_options
from rl_suite.meta_learning.continual.strategies.registry import STRATEGIES
from rl_suite.meta_learning.experiment import build_session
from rl_suite.meta_learning.sections import MetaLearningSection
from rl_suite.meta_learning.used_settings import STRATEGY_OPTIONS, is_used
from rl_suite.seeding import seed_everything

GRADIENT, FEW_SHOT = "meta_learning.gradient", "meta_learning.few_shot"
GLYPHS = ["meta_learning.pictures.data=glyphs"]
DENSE = [*GLYPHS, f"{GRADIENT}.network=dense"]
CONV4 = [*GLYPHS, f"{GRADIENT}.network=conv4", f"{GRADIENT}.width=4"]
RUNS = {
    "sinusoid": ["experiment=sinusoid_maml,smoke", f"{GRADIENT}.inequality=1.0"],
    "maml++": ["experiment=omniglot_maml,smoke", *CONV4, "meta_learning.learner=maml_plus_plus"],
    "anil": ["experiment=omniglot_maml,smoke", *GLYPHS, "meta_learning.learner=anil", f"{GRADIENT}.network=wide"],
    "reptile": [
        "experiment=omniglot_maml,smoke",
        *GLYPHS,
        "meta_learning.learner=reptile",
        f"{GRADIENT}.network=dense",
    ],
    "prototypical": ["experiment=omniglot_prototypical,smoke", *GLYPHS],
    "taml": ["experiment=omniglot_taml,smoke", *GLYPHS, "meta_learning.pictures.train_shot=2"],
    "digits": ["experiment=continual_digits,smoke", "meta_learning.learner=replay"],
    "rooms": ["experiment=continual_rooms,smoke", "meta_learning.learner=ewc"],
}


def load(*words):
    return load_experiment(DEFAULT_CONFIG, words)


@pytest.mark.parametrize("words", RUNS.values(), ids=RUNS)
def test_what_is_not_refused_is_read(words, monkeypatch):
    config, seen = load(*words), set()
    read, dump = Section.__getattribute__, Section.model_dump

    def recorded(self, name):
        seen.add((type(self), name))
        return read(self, name)

    def dumped(self, **options):
        if options.get("mode") != "json":  # those are for reports
            seen.update((type(self), name) for name in type(self).model_fields)
        return dump(self, **options)

    monkeypatch.setattr(Section, "__getattribute__", recorded)
    monkeypatch.setattr(Section, "model_dump", dumped)
    seed_everything(0)
    session = build_session(config)
    for step in range(session.total_steps):
        session.step(step)
    session.validate()
    session.evaluate({})
    monkeypatch.undo()
    in_the_loop = {"log_every", "validate_every", "checkpoint_every"}  # read by the runner, for every problem
    for part, field in MetaLearningSection.model_fields.items():
        kind = field.annotation
        for name in kind.model_fields if inspect.isclass(kind) and issubclass(kind, Section) else ():
            if is_used(config.meta_learning, f"{part}.{name}") and name not in in_the_loop:
                assert (kind, name) in seen, f"{part}.{name}"


@pytest.mark.parametrize(
    ("experiment", "setting", "value"),
    [
        ("continual_digits", "loop.steps", 7),
        ("continual_digits", "loop.tasks_per_step", 7),
        ("continual_rooms", "loop.outer_lr", 1.0),
        ("continual_rooms", "loop.test_tasks", 7),
        ("continual_rooms", "continual.epochs", 7),
        ("continual_digits", "continual_worlds.timesteps", 7),
        ("sinusoid_maml", "gradient.batch_norm", "batch"),
        ("sinusoid_maml", "gradient.entropy", 1.0),
        ("sinusoid_maml", "gradient.measure", "gini"),
        ("sinusoid_maml", "gradient.anneal_steps", 7),
        ("sinusoid_maml", "pictures.size", 28),
        ("omniglot_maml", "few_shot.widths", [4, 4, 4, 4]),
        ("omniglot_maml", "few_shot.distance", "cosine"),
        ("omniglot_maml", "sinusoid.shots", 7),
        ("omniglot_maml", "pictures.test_share", 0.5),
        ("omniglot_taml", "taml.weighted_support", True),
        ("omniglot_taml", "gradient.inner_lr", 1.0),
        ("omniglot_prototypical", "taml.latent_dim", 7),
    ],
)
def test_what_nothing_reads_is_refused(experiment, setting, value, tmp_path):
    with pytest.raises(UserError, match=f"meta_learning.{setting}: problem .* does not read it"):
        load(f"experiment={experiment}", f"meta_learning.{setting}={yaml.safe_dump(value, default_flow_style=True)}")
    raw = yaml.safe_load(DEFAULT_CONFIG.read_text(encoding="utf-8"))
    part, name = setting.split(".")
    raw["experiments"][experiment]["meta_learning"].setdefault(part, {})[name] = value
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    with pytest.raises(UserError, match=f"meta_learning.{setting}: problem .* does not read it"):
        load_experiment(tmp_path / "mine.yaml", [f"experiment={experiment}"])


@pytest.mark.parametrize(
    ("words", "setting"),
    [
        (["learner=reptile"], "gradient.order=first"),
        (["gradient.network=dense"], "gradient.batch_norm=batch"),
        (["gradient.network=wide"], "gradient.width=8"),
        (["gradient.norm=none"], "gradient.batch_norm=batch"),
        (["pictures.jitter=null", "problem=few_shot", "learner=prototypical"], "few_shot.test_jitter=0.1"),
    ],
)
def test_settings_that_others_switch_off_are_refused(words, setting):
    words = [f"meta_learning.{word}" for word in words]
    load("experiment=omniglot_maml", *words)
    with pytest.raises(UserError, match=f"{setting.partition('=')[0]}: problem"):
        load("experiment=omniglot_maml", *words, f"meta_learning.{setting}")


def test_strategies_read_their_own_options():
    for name, strategy in STRATEGIES.items():
        own = {*own_options(name), *({"buffer_size"} & set(inspect.signature(strategy.__init__).parameters))}
        assert set(STRATEGY_OPTIONS.get(name, ())) == own, name
    alone, options = ["experiment=continual_digits", "meta_learning.learner=si"], "meta_learning.continual.strategies"
    load(*alone, f"{options}.damping=0.2")
    with pytest.raises(UserError, match=r"strategies\.ewc_lambda: problem 'continual' with learner 'si' does not"):
        load(*alone, f"{options}.ewc_lambda=1")
    elsewhere = ["sequences=[split_task]", "per_sequence={permuted: {ewc_lambda: 1.0}}"]
    with pytest.raises(UserError, match=r"per_sequence\.permuted"):
        load("experiment=continual_digits", *(f"meta_learning.continual.{word}" for word in elsewhere))
