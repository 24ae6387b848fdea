"""Which tools to call, in which order, at which price: learnt from how executions went."""
