"""Where tasks come from: sinusoids, n-way k-shot episodes, Omniglot, drawn glyphs."""
