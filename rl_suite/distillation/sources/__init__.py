"""Who writes learning histories, and how they are played."""
