r"""Tables in LaTeX with booktabs: a document that compiles as it is, each table of which can be taken on its own."""

from __future__ import annotations

from collections.abc import Sequence

from remixbench.leaderboard.tables import Cell, Line, Table

_ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}",
    "[": "{[}", "]": "{]}", "±": r"$\pm$", "α": r"$\alpha$", "−": "$-$", "–": r"\textendash{}", "×": r"$\times$",
    "·": r"$\cdot$", "’": "'", "≈": r"$\approx$", "…": r"\ldots{}",
}  # fmt: skip
_LAST_OF_T1 = 0x17F
"""Up to here (Latin-1 and Latin Extended-A) pdflatex has the letters; others are written by their number."""
_BEFORE = r"""% Needs booktabs, geometry and textcomp. For a paper of your own, take what lies between two rules of %%%.
\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage{textcomp}
\usepackage{booktabs}
\usepackage[landscape,margin=1cm]{geometry}
\begin{document}
"""
_RULE = "%" * 40


def to_latex(tables: Sequence[Table]) -> str:
    """Return the tables as a LaTeX document."""
    bodies = "".join(f"{_RULE}\n{_table(table)}" for table in tables)
    return f"{_BEFORE}{bodies}{_RULE}\n\\end{{document}}\n"


def escape(text: str) -> str:
    """Return text that LaTeX sets as it is, whatever stands in it, on one line."""
    return "".join(map(_letter, " ".join(text.split()))).replace("--", "-{}-")


def _letter(letter: str) -> str:
    if letter in _ESCAPES:
        return _ESCAPES[letter]
    known = 0x20 <= ord(letter) < 0x7F or 0xC0 <= ord(letter) <= _LAST_OF_T1
    return letter if known else rf"\texttt{{U+{ord(letter):04X}}}"


def _table(table: Table) -> str:
    noted = any(line.letters for line in table.lines)
    texts = [heading for heading in (table.tested, table.evidence) if heading]
    width = 1 + len(table.columns) + len(texts)
    lines = [
        r"\begin{table}[p]",
        r"\centering",
        rf"\caption{{{escape(' '.join([table.title + '.', *table.caption]))}}}",
        r"\scriptsize",
        r"\setlength{\tabcolsep}{3pt}",
        rf"\begin{{tabular}}{{l{'r' * len(table.columns)}{'l' * len(texts)}}}",
        r"\toprule",
        *_heads(table, texts),
        r"\midrule",
    ]
    for place, block in enumerate(table.blocks):
        if place:
            lines.append(r"\midrule")
        if block.heading:
            lines.append(rf"\multicolumn{{{width}}}{{l}}{{\textit{{{escape(block.heading)}}}}} \\")
        for line in block.lines:
            shown = [line.tested] * bool(table.tested) + [line.evidence] * bool(table.evidence)
            lines += _line(line, noted, shown)
    lines += [r"\bottomrule", r"\end{tabular}"]
    if table.notes:
        lines.append(r"\par\smallskip\begin{minipage}{0.95\linewidth}\tiny\raggedright")
        lines += [rf"{escape(note)}\par" for note in table.notes]
        lines.append(r"\end{minipage}")
    return "\n".join([*lines, r"\end{table}", ""])


def _heads(table: Table, texts: Sequence[str]) -> list[str]:
    """Return the rows of headings; `texts` are those of the columns after the metrics."""
    last = [escape(text) for text in texts]
    lines = []
    if any(heading for heading, _ in table.groups):
        spans, rules, start = [], [], 2
        for heading, columns in table.groups:
            spans.append(rf"\multicolumn{{{len(columns)}}}{{c}}{{{escape(heading)}}}")
            rules.append(rf"\cmidrule(lr){{{start}-{start + len(columns) - 1}}}")
            start += len(columns)
        lines += [_row(["", *spans, *[""] * len(last)]), "".join(rules)]
    return [*lines, _row([escape(table.head), *(escape(column.title) for column in table.columns), *last])]


def _line(line: Line, noted: bool, texts: Sequence[str]) -> list[str]:
    """Return the rows of a line; `texts` are its columns after the metrics."""
    marks = rf"\textsuperscript{{{escape(' '.join(line.letters))}}}" if noted and line.letters else ""
    last = [escape(text) for text in texts]
    rows = [_row([escape(line.head) + marks, *map(_value, line.cells), *last])]
    if any(cell.below for cell in line.cells):
        below = [rf"{{\tiny {escape(cell.below)}}}" if cell.below else "" for cell in line.cells]
        rows.append(_row(["", *below, *[""] * len(last)]))
    return rows


def _value(cell: Cell) -> str:
    return rf"\textbf{{{escape(cell.text)}}}" if cell.bold else escape(cell.text)


def _row(cells: Sequence[str]) -> str:
    # a row that begins with "[" would be taken for the space of the row before it; escape() sees to that
    return " & ".join(cells) + r" \\"
