"""From recipe and catalogue to a data set on disk. No torch in here."""
