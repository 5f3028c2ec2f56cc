#!/bin/sh
# Test with the lowest versions that pyproject.toml allows (torch excepted): tests/lowest/run.sh [DIR [TEST...]]
# Needs Python 3.11, the oldest we support. DIR (default .venv-lowest) gets the environment; it hides itself from git.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cd "$root"
dir=${1:-.venv-lowest}
[ $# -gt 0 ] && shift
if [ $# -eq 0 ]; then
    set -- tests/test_recipe.py tests/test_manifest.py tests/test_sources.py tests/test_plan.py tests/test_make.py \
        tests/test_shards.py tests/test_verify.py tests/test_mix.py tests/test_features.py tests/test_labels.py \
        tests/test_scoring_tagging.py tests/test_scoring_detection.py tests/test_scoring_readers.py \
        tests/test_leaderboard.py tests/test_cli_score.py tests/test_systems.py tests/test_training.py \
        tests/test_predict.py tests/test_plots.py tests/test_report.py tests/test_download.py tests/test_package.py \
        tests/test_cli_frame.py tests/test_maps.py tests/test_parts.py tests/test_fuzz.py
fi
if [ ! -x "$dir/bin/python" ]; then
    "${PYTHON:-python3.11}" -m venv "$dir"
    printf '*\n' > "$dir/.gitignore"
fi
"$dir/bin/python" "$here/requirements.py" > "$dir/requirements.txt"
"$dir/bin/python" -m pip install --quiet --requirement "$dir/requirements.txt"
"$dir/bin/python" -m pip install --quiet --no-deps --editable .
exec "$dir/bin/python" -m pytest "$@"
