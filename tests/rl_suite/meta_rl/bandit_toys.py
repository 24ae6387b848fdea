"""A trainer on the bandit with a hidden structure, small enough for tests."""

from pathlib import Path

from rl_suite.meta_rl import EnhancedMAMLTrainer, EnhancedMetaLearningConfig, TaskWorlds

ID = "rl_suite/CyclicBandit-v0"


def make_config(folder=Path("unused"), **options):
    small = {
        "meta_lr": 3e-3,
        "adaptation_lr": 1.0,
        "hidden_dim": 16,
        "num_attention_heads": 2,
        "context_trajectories": 0,
        "gamma": 0.0,
        "value_loss_weight": 0.02,
        "save_attention_maps": False,
        "tasks_per_batch": 2,
        "support_episodes": 3,
        "query_episodes": 3,
        "adaptation_steps": 2,
    }
    return EnhancedMetaLearningConfig(log_dir=folder, **{**small, **options})


def make_worlds(part="all", **options):
    return TaskWorlds(ID, {"arms": 3, "split": part, **options})


def make_trainer(folder=Path("unused"), worlds=None, policy=None, **options):
    return EnhancedMAMLTrainer(make_config(folder, **options), policy, worlds or make_worlds())
