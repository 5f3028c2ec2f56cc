"""Figures of clips and of the outputs of networks, in print quality."""
