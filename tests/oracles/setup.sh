#!/bin/sh
# Set up the separate environment in which the field's scorers run: tests/oracles/setup.sh [DIR]
# The default DIR is .venv-oracles beside this repository's pyproject.toml; it hides itself from git.
# sed_scores_eval comes as source and is compiled, so a C compiler is needed.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:-$here/../../.venv-oracles}
"${PYTHON:-python3}" -m venv "$dir"
printf '*\n' > "$dir/.gitignore"
"$dir/bin/python" -m pip install -q "setuptools<82" wheel "cython>=3" "numpy==1.26.4"
"$dir/bin/python" -m pip install -q --no-build-isolation -r "$here/requirements.txt"
"$dir/bin/python" -c "import fast_bss_eval, psds_eval, sed_eval, sed_scores_eval"
echo "the scorers are ready in $dir"
