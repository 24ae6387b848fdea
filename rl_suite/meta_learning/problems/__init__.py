"""What an experiment of this kind is about: a source of tasks, a learner, a score and controls, as one session."""
