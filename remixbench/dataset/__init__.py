"""From recipe and catalogues to a data set on disk. Never imports torch."""
