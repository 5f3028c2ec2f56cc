#!/bin/sh
# Set up the separate environment with the libraries that read exported data sets: tests/exports/setup.sh [DIR]
# The default DIR is .venv-exports beside this repository's pyproject.toml; it hides itself from git.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:-$here/../../.venv-exports}
"${PYTHON:-python3}" -m venv "$dir"
printf '*\n' > "$dir/.gitignore"
"$dir/bin/python" -m pip install -q -r "$here/requirements.txt"
"$dir/bin/python" -c "import datasets, lhotse, mlcroissant, webdataset"
touch "$dir/.ready"
echo "the readers of exports are ready in $dir"
