"""Runs that teach several learners several sequences of tasks, and what they report."""
