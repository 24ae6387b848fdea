"""Padded graphs as batches, their encoders, and pictures of them."""
