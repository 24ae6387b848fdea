"""What each way of not forgetting adds to the one training loop of ``ContinualLearner``."""
