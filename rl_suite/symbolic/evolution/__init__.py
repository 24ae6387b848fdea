"""Programs that are bred: their genes, breeding, scoring and islands."""
