"""One self-contained page per run folder, and one that compares runs; see ``rl_suite.report.page``."""
