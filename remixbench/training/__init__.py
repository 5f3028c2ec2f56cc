"""Data loading, the loop, runs on disk."""
