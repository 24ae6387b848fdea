"""What the pages on agents and meta-learners say: where each lives, what it is, how data flows, a command."""

from typing import NamedTuple

from rl_suite.site.figures import Columns


class Entry(NamedTuple):
    """One page; its API follows from the docstring of ``target``."""

    title: str
    target: str  # "module:Class"
    about: str
    flow: Columns
    commands: tuple[str, ...] = ()
    see: str = ""  # a page of docs/ with what was measured

    @property
    def slug(self) -> str:
        """The file of the page, without its ending."""
        return self.title.lower().replace("++", "-plus-plus").replace(" ", "-").replace("'", "")


AGENTS = (
    Entry(
        "Hybrid actor critic",
        "agents.actor_critic:HybridActorCritic",
        "The policy of the colonies: it reads a padded graph and acts for the whole or each node.",
        (
            ("padded graph",),
            ("encoder",),
            ("node tokens", "graph token"),
            ("actor", "critic"),
            ("choices and values", "value by component"),
        ),
        ("python train.py experiment=durotaxis", "python train.py experiment=durotaxis_per_node"),
        "durotaxis.md",
    ),
    Entry(
        "Hybrid policy",
        "agents.hybrid.policy:HybridPolicy",
        "A stock SB3 policy for actions that are part choice, part number, with masks, in worlds with a `HybridBox`.",
        (
            ("observation",),
            ("features extractor",),
            ("choices (masked)", "values (squashed)"),
            ("joint density",),
            ("flat action",),
        ),
        see="hybrid_actions.md",
    ),
    Entry(
        "Weight Sharing Attention",
        "agents.weight_sharing:MultiPTMFeatureExtractor",
        "Several pre-trained models look at the same thing; one shared scorer says how much each of them counts.",
        (
            ("image", "state"),
            ("model 1", "model 2", "context"),
            ("shared scorer",),
            ("weights",),
            ("weighted sum",),
        ),
        ("python train.py experiment=durotaxis_wsa",),
        "weight_sharing.md",
    ),
    Entry(
        "In-context agent",
        "agents.in_context.agent:InContextAgent",
        "A causal transformer that was trained on learning histories, and improves within a trial with frozen weights.",
        (
            ("observation", "last action", "reward", "done"),
            ("step encoder",),
            ("causal transformer",),
            ("action head",),
        ),
        ("python train.py experiment=darkroom_distillation",),
        "distillation.md",
    ),
    Entry(
        "Meta policy",
        "agents.meta_policy:EnhancedMetaLearningPolicy",
        "A policy that is told its task by a few episodes of it, and attends to what they hold.",
        (
            ("observation", "episodes of the task"),
            ("nodes", "task encoder"),
            ("attention",),
            ("fusion",),
            ("action", "value", "forecasts"),
        ),
        ("python train.py experiment=meta_bandit",),
        "meta_rl.md",
    ),
    Entry(
        "Expression policy",
        "agents.expression_policy:ExpressionPolicy",
        "A recurrent network that writes programs token by token for the search for laws.",
        (("parent", "sibling"), ("GRU",), ("token probabilities", "grammar mask"), ("next token",)),
        ("python train.py experiment=symbolic_search search.policy=true",),
        "symbolic.md",
    ),
    Entry(
        "Form policy",
        "agents.meta.expression_encoder:FormPolicy",
        "Probabilities of the next token of a law, given the table that it should explain.",
        (
            ("table", "tokens so far"),
            ("pair attention", "causal layers"),
            ("attention to columns",),
            ("next token",),
        ),
        ("python train.py experiment=meta_symbolic",),
        "law_prior.md",
    ),
    Entry(
        "Q-learning",
        "agents.tabular:QLearning",
        "Watkins' algorithm for a whole batch of rooms at once; its histories teach the transformer.",
        (("cell",), ("table of action values",), ("epsilon-greedy",), ("action",)),
        ("python train.py experiment=darkroom_q_distillation",),
        "distillation.md",
    ),
    Entry(
        "Thompson sampling",
        "agents.tabular:ThompsonSampling",
        "The posterior of each arm is sampled, and the best sample is pulled: the bandit's yardstick.",
        (("pulls", "earnings"), ("posterior of each arm",), ("one sample each",), ("best arm",)),
        ("python evaluate.py baseline=thompson experiment=bandit_ppo",),
    ),
    Entry(
        "Up the gradient",
        "agents.durotaxis_baselines:UpGradient",
        "The scripted colony that others are measured against: it fits a plane to what its nodes feel.",
        (("intensities of nodes",), ("plane",), ("slope",), ("grow ahead", "die behind")),
        ("python evaluate.py baseline=scripted experiment=durotaxis",),
        "durotaxis.md",
    ),
)

INNER = (("support set",), ("inner steps",), ("adapted weights",), ("loss on the query set",), ("outer step",))
HEADS = (("support images", "query images"), ("shared encoder",), ("head",), ("class probabilities",))
LEARNERS = "rl_suite.meta_learning.learners."
STRATEGIES = "rl_suite.meta_learning.continual.strategies."


def _gradient(title: str, name: str, about: str, *commands: str) -> Entry:
    return Entry(title, f"{LEARNERS}variants:{name}", about, INNER, commands, "meta_learning.md")


def _metric(title: str, name: str, about: str, *commands: str) -> Entry:
    return Entry(title, f"{LEARNERS}few_shot:{name}", about, HEADS, commands, "meta_learning.md")


def _continual(title: str, target: str, about: str, against: str) -> Entry:
    flow = (("task after task",), ("network",), ("loss", against), ("step",))
    command = "python train.py experiment=continual_digits"
    return Entry(title, STRATEGIES + target, about, flow, (command,), "meta_learning.md")


META_LEARNERS = (
    _gradient(
        "MAML",
        "MAMLSecondOrder",
        "A start from which a few gradient steps suffice, found by differentiating through those steps.",
        "python train.py experiment=sinusoid_maml",
        "python train.py experiment=omniglot_maml",
    ),
    _gradient(
        "First-order MAML",
        "MAMLFirstOrder",
        "MAML that takes inner gradients for constants: half the memory, nearly the same start.",
        "python train.py experiment=sinusoid_maml meta_learning.gradients.learner=maml_first_order",
    ),
    _gradient(
        "ANIL",
        "ANIL",
        "Only the head is adapted; the body is learnt once for all tasks.",
        "python train.py experiment=omniglot_anil",
    ),
    _gradient("Reptile", "Reptile", "The start moves towards the adapted weights; no query set is needed."),
    _gradient("Meta-SGD", "MetaSGD", "Every weight learns its own inner rate."),
    _gradient("MAML++", "MAMLPlusPlus", "A rate for every step and layer, and an outer loss on every inner step."),
    _gradient("Multi-task MAML", "MultiTaskMAML", "Families of tasks, weighted by learnt uncertainties."),
    Entry(
        "TAML",
        f"{LEARNERS}taml:TaskAgnosticMetaLearning",
        "A latent code of the task scales the head and paces the inner loop.",
        (
            ("support set",),
            ("encoder",),
            ("relations of classes",),
            ("factors", "rates"),
            ("inner steps of the head",),
        ),
        ("python train.py experiment=omniglot_taml",),
        "meta_learning.md",
    ),
    _metric(
        "Prototypical network",
        "PrototypicalNetwork",
        "The nearest mean of a class wins, in a space that was learnt for it.",
        "python train.py experiment=omniglot_prototypical",
    ),
    _metric("Relation network", "RelationNetwork", "A small network learns what it means to be alike."),
    _metric("Matching network", "MatchingNetwork", "Attention over the support images, whose labels are averaged."),
    _continual("Naive", "naive:Naive", "Train on what comes: what the others are measured against.", "nothing"),
    _continual("Replay", "rehearsal:Replay", "Examples of earlier tasks accompany every minibatch.", "memory"),
    _continual(
        "EWC",
        "regularised:ElasticWeightConsolidation",
        "Weights that earlier tasks need are held by springs.",
        "Fisher penalty",
    ),
    _continual(
        "Synaptic intelligence",
        "regularised:Synapses",
        "Springs as stiff as what each weight has contributed on its way.",
        "path penalty",
    ),
    _continual(
        "Learning without forgetting",
        "regularised:LearningWithoutForgetting",
        "Old answers to new pictures are kept.",
        "distillation",
    ),
    _continual(
        "Progressive networks", "progressive:Progressive", "A column for each task, which reads the earlier ones.",
        "frozen columns",
    ),
    _continual("GDumb", "rehearsal:GreedyDumb", "Collect, then learn from scratch: a humbling control.", "memory"),
)  # fmt: skip

# dotted modules whose public names make the API reference, by chapter
REFERENCE = {
    "Worlds": (
        "envs.world", "envs.batch", "envs.spaces", "envs.tasks", "envs.kernel_cache", "rl_suite.vec_env",
    ),
    "Agents": (
        "agents.protocol", "agents.baselines", "agents.tabular", "agents.actor_critic", "agents.weight_sharing",
        "agents.pretrained", "agents.in_context.model", "agents.in_context.agent",
    ),
    "Training": ("rl_suite.config", "rl_suite.run", "rl_suite.checkpoint", "rl_suite.sb3", "rl_suite.progress"),
    "Evaluation": ("rl_suite.evaluation.evaluate", "rl_suite.evaluation.statistics"),
    "Laws": ("rl_suite.symbolic.regressor", "rl_suite.symbolic.search", "envs.symbolic.laws"),
    "Meta-learning": (
        "rl_suite.meta_learning.engine", "rl_suite.meta_learning.tasks", "rl_suite.meta_learning.metrics",
    ),
}  # fmt: skip
