"""Search by gradients: a network of all operations at once, whose mixture is trained beside its weights."""
