"""Metrics in, tables and the page out.

    record                                  metrics.json: the metrics of one set of predictions, checked
    separation, evaluate                    predictions to a record
    discover                                what can be scored: runs, or anyone's predictions
    submission, receipts                    records in one file, and which of them were computed again here
    rows, grouping, significance            records to rows: means, intervals, what is best
    published, leaderboard                  published results, and all rows of a data set
    tables, table_maker                     one table, and what the tables of a leaderboard share
    board_tables, summary                   the tables
    renderers                               tables and rows as text: terminal, Markdown, LaTeX, CSV, JSON
    comparisons                             two rows, or a submitted row and its predictions, as text
    hosting                                 a host adds, verifies and removes other people's rows
    score, figure, report, encoder_probe    the commands

From the bottom up: each module uses only those above it. docs/formats.md describes the files.
"""
