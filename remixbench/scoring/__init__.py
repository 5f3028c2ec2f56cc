"""Predictions in, metrics out. No torch in here."""
