"""Meta-learn on laws of physics: a policy whose few gradient steps on a law's own episodes pay off; small sizes.

python -m rl_suite.examples.meta_quick_start
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from rich.console import Console

from envs.symbolic import PhysicsTaskDistribution
from rl_suite.examples.usage import run
from rl_suite.meta_rl import EnhancedMAMLTrainer, EnhancedMetaLearningConfig

ITERATIONS = 3  # hundreds, to be of use


def main() -> None:
    """Train a little, then look where the policy looks."""
    console = Console(highlight=False)
    torch.set_num_threads(1)  # more only wait for each other in networks this small
    with TemporaryDirectory() as folder:
        # 1. How to learn. What is left out has the values of the documents.
        config = EnhancedMetaLearningConfig(
            meta_lr=0.0003,
            adaptation_lr=0.01,
            adaptation_steps=2,
            tasks_per_batch=3,
            support_episodes=5,
            query_episodes=5,
            hidden_dim=64,
            num_attention_heads=4,
            fusion_type="attention",  # or "gating", "bilinear"
            use_hierarchical_encoding=True,
            attention_entropy_weight=0.01,  # more of it: a more focused attention
            save_attention_maps=True,
            attention_save_interval=ITERATIONS,
            log_dir=Path(folder),
            device="cuda" if torch.cuda.is_available() else "cpu",
        )

        # 2. What to learn: laws of school physics, with noise.
        task_distribution = PhysicsTaskDistribution(include_noise=True, collection="classic")

        # 3. Outer steps. Every task is adapted to by playing; the weights move to where that pays.
        trainer = EnhancedMAMLTrainer(config, task_distribution=task_distribution)
        found = trainer.train(n_iterations=ITERATIONS)
        console.print(f"return before adaptation {found['train/return_before']:.3f}, after {found['train/return']:.3f}")

        # 4. Where it looks, law by law.
        for name in trainer.attention_analyzer.history:
            evolution = trainer.attention_analyzer.analyze_attention_evolution(name)
            console.print(f"{name:30s} entropy of the attention {evolution['entropy'][-1]:.2f} nats")
        console.print(f"{len(list((Path(folder) / 'attention_maps').iterdir()))} attention maps were drawn")


if __name__ == "__main__":
    run(main, __doc__)
