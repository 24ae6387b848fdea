"""Many jobs at once: executors that run a function over items, and sweeps of experiments over seeds."""
