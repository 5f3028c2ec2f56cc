r"""Tables as Markdown and as LaTeX.

Markdown is that of GitHub and most others. LaTeX is a document that compiles as it is and needs booktabs; each of its
tables can be copied on its own.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence

from remixbench.leaderboard.tables import Cell, Line, Table

# a dash, a plus or a hash means something only where a line starts; within names they stay readable
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|~$&@]|^[-+#])")


def to_markdown(tables: Sequence[Table]) -> str:
    """Return the tables as Markdown."""
    return "\n".join(_markdown_table(table) for table in tables)


def escape_markdown(text: str) -> str:
    """Return text, escaped for Markdown, on one line."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def _markdown_table(table: Table) -> str:
    noted = any(line.letters for line in table.lines)
    heads = [table.head, *([""] if noted else [])]
    heads += [
        f"{column.title}, {heading}" if heading else column.title
        for heading, columns in table.groups
        for column in columns
    ]
    heads += [column.heading for column in table.text_columns]
    left = 2 if noted else 1
    rule = ["---"] * left + ["---:"] * len(table.columns) + ["---"] * len(table.text_columns)
    lines = [f"## {escape_markdown(table.title)}", ""]
    for text in table.caption:
        lines += [escape_markdown(text), ""]
    lines += [_markdown_row([escape_markdown(head) for head in heads]), _markdown_row(rule)]
    for block in table.blocks:
        if block.heading:
            lines.append(_markdown_row([f"*{escape_markdown(block.heading)}*", *[""] * (len(heads) - 1)]))
        for line in block.lines:
            letters = [f"<sup>{escape_markdown(' '.join(line.letters))}</sup>" if line.letters else ""] if noted else []
            texts = (escape_markdown(column.text(line)) for column in table.text_columns)
            lines.append(
                _markdown_row([escape_markdown(line.head), *letters, *map(_markdown_cell, line.cells), *texts])
            )
    lines.append("")
    lines += [f"- {escape_markdown(note)}" for note in table.notes]
    return "\n".join([*lines, ""]) if table.notes else "\n".join(lines)


def _markdown_cell(cell: Cell) -> str:
    text = f"**{escape_markdown(cell.text)}**" if cell.bold else escape_markdown(cell.text)
    return f"{text}<br><sub>{escape_markdown(cell.below)}</sub>" if cell.below else text


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}",
    "[": "{[}", "]": "{]}", "±": r"$\pm$", "α": r"$\alpha$", "−": "$-$", "–": r"\textendash{}", "×": r"$\times$",
    "·": r"$\cdot$", "’": "'", "≈": r"$\approx$", "…": r"\ldots{}", "‡": r"\ddag{}",
}  # fmt: skip
_LAST_OF_T1 = 0x17F
"""Up to here (Latin-1 and Latin Extended-A) pdflatex has the letters; others are written by their number."""
_START = r"""% Needs booktabs, geometry and textcomp. For a paper of your own, take what lies between two rules of %%%.
\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage{textcomp}
\usepackage{booktabs}
\usepackage[landscape,margin=1cm]{geometry}
\begin{document}
"""
_LATEX_RULE = "%" * 40
ONE_COLUMN, ONE_PAGE, SMALLER = 54, 112, 1.1
r"""How many letters of \footnotesize a line of a column, and of a page of two columns, has; of \scriptsize, more."""
GAP, BELOW, NAME = 1.5, 0.75, 22
"""In letters: the space between columns, a letter of what stands under a value, the longest name on one line."""
Write = Callable[[str], str]


def to_latex(tables: Sequence[Table]) -> str:
    """Return the tables as a LaTeX document."""
    bodies = "".join(f"{_LATEX_RULE}\n{_latex_table(table)}" for table in tables)
    return f"{_START}{bodies}{_LATEX_RULE}\n\\end{{document}}\n"


def to_paper_table(table: Table) -> str:
    """Return a table for a paper of one column or two, which needs booktabs alone.

    It has the width of one column where it fits, otherwise of the page, and small letters where it would be wider.
    """
    below = [part for line in table.lines for cell in line.cells for part in cell.below.split()]
    least = BELOW * max(map(len, below), default=0)
    widths = [
        max(len(column.title) + 1, least, *(len(line.cells[index].text) for line in table.lines))
        for index, column in enumerate(table.columns)
    ]
    names = min(NAME, max(len(line.head) + len(line.letters) for line in table.lines))
    letters = names + sum(width + GAP for width in widths)
    environment = "table" if letters <= ONE_COLUMN else "table*"
    fits = letters <= (ONE_COLUMN if environment == "table" else ONE_PAGE)
    lines = [
        r"% needs \usepackage{booktabs}",
        rf"\begin{{{environment}}}[t]",
        r"\centering",
        rf"\caption{{{escape_plain_latex(' '.join([table.title + '.', *table.caption]))}}}",
        r"\footnotesize" if fits else r"\scriptsize" if letters <= SMALLER * ONE_PAGE else r"\tiny",
        r"\setlength{\tabcolsep}{3pt}",
        *_tabular(table, escape_plain_latex, stacked=True),
        *(rf"\par\smallskip {{\scriptsize {escape_plain_latex(note)}}}" for note in table.notes),
        rf"\end{{{environment}}}",
        "",
    ]
    return "\n".join(lines)


def escape_plain_latex(text: str) -> str:
    """Return text as `escape_latex` does, for a document without T1 fonts: letters without their accents."""
    decomposed = unicodedata.normalize("NFKD", text.replace('"', "''"))
    bare = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return "".join(map(_latex_letter, " ".join(bare.split()))).replace("--", "-{}-")


def escape_latex(text: str) -> str:
    """Return text, escaped for LaTeX, on one line."""
    return "".join(map(_latex_letter, " ".join(text.split()))).replace("--", "-{}-")


def _latex_letter(letter: str) -> str:
    if letter in _LATEX:
        return _LATEX[letter]
    has_letter = 0x20 <= ord(letter) < 0x7F or 0xC0 <= ord(letter) <= _LAST_OF_T1
    return letter if has_letter else rf"\texttt{{U+{ord(letter):04X}}}"


def _latex_table(table: Table) -> str:
    lines = [
        r"\begin{table}[p]",
        r"\centering",
        rf"\caption{{{escape_latex(' '.join([table.title + '.', *table.caption]))}}}",
        r"\scriptsize",
        r"\setlength{\tabcolsep}{3pt}",
        *_tabular(table, escape_latex),
    ]
    if table.notes:
        lines.append(r"\par\smallskip\begin{minipage}{0.95\linewidth}\tiny\raggedright")
        lines += [rf"{escape_latex(note)}\par" for note in table.notes]
        lines.append(r"\end{minipage}")
    return "\n".join([*lines, r"\end{table}", ""])


def _tabular(table: Table, write: Write, *, stacked: bool = False) -> list[str]:
    """Return the table itself; `stacked`, each part of what stands under a value has a row, and long names break."""
    texts = [column.heading for column in table.text_columns]
    width = 1 + len(table.columns) + len(texts)
    lines = [
        rf"\begin{{tabular}}{{l{'r' * len(table.columns)}{'l' * len(texts)}}}",
        r"\toprule",
        *_latex_heads(table, texts, write),
        r"\midrule",
    ]
    for index, block in enumerate(table.blocks):
        if index:
            lines.append(r"\midrule")
        if block.heading:
            lines.append(rf"\multicolumn{{{width}}}{{l}}{{\textit{{{write(block.heading)}}}}} \\")
        for line in block.lines:
            lines += _latex_lines(line, [column.text(line) for column in table.text_columns], write, stacked=stacked)
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def _latex_heads(table: Table, texts: Sequence[str], write: Write) -> list[str]:
    """Return the rows of headings; `texts` are those of the columns after the metrics."""
    last = [write(text) for text in texts]
    lines = []
    if any(heading for heading, _ in table.groups):
        spans, rules, start = [], [], 2
        for heading, columns in table.groups:
            spans.append(rf"\multicolumn{{{len(columns)}}}{{c}}{{{write(heading)}}}")
            rules.append(rf"\cmidrule(lr){{{start}-{start + len(columns) - 1}}}")
            start += len(columns)
        lines += [_latex_row(["", *spans, *[""] * len(last)]), "".join(rules)]
    return [*lines, _latex_row([write(table.head), *(write(column.title) for column in table.columns), *last])]


def _latex_lines(line: Line, texts: Sequence[str], write: Write, *, stacked: bool) -> list[str]:
    """Return the rows of a line; `texts` are its columns after the metrics."""
    marks = rf"\textsuperscript{{{write(' '.join(line.letters))}}}" if line.letters else ""
    name = write(line.head) + marks
    if stacked and len(line.head) > NAME:
        name = rf"\parbox[t]{{11em}}{{\raggedright {name}}}"
    values = [rf"\textbf{{{write(cell.text)}}}" if cell.bold else write(cell.text) for cell in line.cells]
    last = [write(text) for text in texts]
    below = [cell.below.split() if stacked else [cell.below] * bool(cell.below) for cell in line.cells]
    rows = [_latex_row([name, *values, *last])]
    for place in range(max(map(len, below), default=0)):
        parts = [rf"{{\tiny {write(cell[place])}}}" if len(cell) > place else "" for cell in below]
        rows.append(_latex_row(["", *parts, *[""] * len(last)]))
    return rows


def _latex_row(cells: Sequence[str]) -> str:
    # "[" at the start of a row would be read as an argument of the \\ before it; escape_latex() prevents that
    return " & ".join(cells) + r" \\"
