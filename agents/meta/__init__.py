"""Parts of the attention meta-policy: what it reads, how it sums up a task, how it attends and fuses."""
