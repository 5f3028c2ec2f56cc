"""Metrics in, tables and the page out; the published rows."""
