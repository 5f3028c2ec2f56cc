"""Inference with a trained system: on recordings, and on its test clips under other conditions."""
