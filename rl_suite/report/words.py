"""Words instead of keys, and what the words mean."""

GLOSSARY = {
    "IQM": "interquartile mean: the mean of the middle half of the episodes. A few very good or very bad episodes "
    "cannot move it as they move the mean.",
    "interval": "in brackets: if the episodes were drawn again, 95 of 100 such intervals would hold the true value. "
    "It knows the episodes, not other training seeds, unless the page says so.",
    "return": "sum of the rewards of an episode.",
    "success": "share of the episodes that reached the goal of the world (is_success in its info).",
    "chance level": "what an agent that does not look would reach.",
    "oracle": "an agent that knows what the others must find out: the best that is possible.",
    "share of the oracle": "0 is the random agent, 1 the oracle.",
    "held-out": "tasks or seeds that training never saw.",
    "durotactic index": "(steps up the gradient - steps down) / all steps of the colony: 1 always up, 0 blind.",
    "forward migration index": "way up the gradient over the length of the whole way.",
    "flat control": "the same agent and seeds on ground without a gradient: what is left there is not durotaxis.",
    "n-way k-shot": "n classes at a time, each shown by k examples.",
    "support set": "the examples from which a task has to be learned; the query set tests it.",
    "worst decile": "mean of the worst tenth of the episodes.",
    "backward transfer": "how much later tasks changed the accuracy on earlier ones; negative is forgetting.",
    "forward transfer": "accuracy on a task before it was trained on, minus that of an untrained network.",
    "trial": "several episodes on one task, over which an agent may learn without changing its weights.",
    "NRMSE": "root mean squared error over the standard deviation of the target: 0 is exact, 1 is the mean's.",
    "bits": "description length of law and errors together; fewer is better.",
    "complexity": "number of tokens of a law.",
}  # fmt: skip

PICTURES = {  # how the names of picture files begin -> what is seen
    "adaptation": "the score against inner steps",
    "attention_adapted": "where the policy looks, before and after its inner steps",
    "attention_by_age": "how much the agent looks at episodes, newest last, and steps within them",
    "attention_entropy": "how widely the policy looks, over training",
    "attention_heatmap": "which step looks at which",
    "attention_in_room": "where in the room the steps were that it looks at",
    "attention_lines": "the steps that are looked at most",
    "attention_overview": "what every head looks at, beside what chance would give",
    "attention_summary": "how widely and how far back heads look",
    "attention_maps": "where the policy looked in training",
    "attention": "where the agent looks",
    "episodes": "episodes with the given pictures, questions and answers",
    "fits": "curves of which a few points were given",
    "fit": "the law beside the data, what it leaves, and the front of laws",
    "in_context_curve": "return against the episode of a trial; the weights do not change",
    "law": "the law as a tree, and its values beside the data",
    "map": "features of classes that were never seen",
    "search": "scores of the search's trials",
    "trajectory": "measured and integrated course",
}

LABELS = {
    "iqm": "IQM of the return",
    "mean": "mean",
    "share_of_oracle": "share of the oracle",
    "success_rate": "success",
    "is_success": "success",
    "paired_difference_of_means": "difference of means",
    "probability_of_improvement": "probability of improvement",
    "against_random": "against the random agent",
    "minus_flat": "minus flat ground",
    "durotactic_index": "durotactic index",
    "forward_migration_index": "forward migration index",
    "velocity_up_um_h": "velocity up the gradient, um/h",
    "nmse": "squared error over variance",
    "average_accuracy": "average accuracy",
    "ep_rew_mean": "mean return of an episode",
    "ep_len_mean": "mean length of an episode",
    "mean_reward": "mean return of an episode",
    "approx_kl": "change of the policy in one update (approximate KL)",
    "clip_fraction": "share of clipped updates",
    "explained_variance": "explained variance of the critic",
    "entropy_loss": "minus the entropy of the policy",
    "std": "standard deviation of the actions",
    "value_loss": "loss of the critic",
    "policy_gradient_loss": "loss of the policy",
    "fps": "steps a second",
    "cpu_seconds": "CPU seconds",
    "p_value": "p-value",
    "deviation": "standard deviation",
    "n": "episodes",
}


PHASES = {"eval": "validation", "rollout": "training", "train": "training", "attention": "attention", "time": ""}


def title(tag: str) -> str:
    """Words for a tag of a curve.

    >>> title("eval/success_rate"), title("train/loss"), title("mine")
    ('success, validation', 'loss, training', 'mine')
    """
    phase, _, key = tag.partition("/")
    if not key:
        return label(tag)
    said = PHASES.get(phase, label(phase))
    return f"{label(key)}, {said}" if said else label(key)


def label(key: str) -> str:
    """Words for a key of a file."""
    return LABELS.get(key, key.replace("_", " "))


def picture_title(name: str) -> str:
    """What a picture of a run folder shows; its file's name in plain words where that is not known.

    >>> picture_title("attention_maps/attention_task_3_2.png")
    'where the policy looked in training: attention task 3 2'
    >>> picture_title("fit.png")
    'the law beside the data, what it leaves, and the front of laws'
    """
    whole = name.rpartition(".")[0]
    for stem in (whole, whole.rpartition("/")[2]):
        known = max((key for key in PICTURES if stem.startswith(key)), key=len, default="")
        if known:
            break
    rest = (stem if known else whole)[len(known) :].replace("_", " ").replace("/", " ").strip()
    return ": ".join(part for part in (PICTURES.get(known, ""), rest) if part)
