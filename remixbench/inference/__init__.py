"""A trained system applied: to recordings, and to the test clips of its data set under other conditions."""
