"""What learns: the MAML family, few-shot learners, task-agnostic meta-learning, and the networks that they train."""
