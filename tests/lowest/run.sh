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
    set -- tests/test_recipe.py tests/dataset/test_manifest.py tests/sources/test_sources.py tests/dataset/test_plan.py tests/dataset/test_make.py \
        tests/dataset/test_shards.py tests/dataset/test_verify.py tests/dataset/test_mix.py tests/dataset/test_features.py tests/dataset/test_labels.py \
        tests/scoring/test_clip_based.py tests/scoring/test_detection.py tests/scoring/test_io.py \
        tests/leaderboard/test_leaderboard.py tests/cli/test_cli_score.py tests/systems/test_models.py tests/training/test_run.py \
        tests/inference/test_predict.py tests/plots/test_plots.py tests/leaderboard/test_report.py tests/sources/download/test_download.py tests/test_package.py \
        tests/cli/test_cli.py tests/leaderboard/test_maps.py tests/dataset/test_parts.py tests/campaigns/test_fuzz.py
fi
if [ ! -x "$dir/bin/python" ]; then
    "${PYTHON:-python3.11}" -m venv "$dir"
    printf '*\n' > "$dir/.gitignore"
fi
"$dir/bin/python" "$here/requirements.py" > "$dir/requirements.txt"
"$dir/bin/python" -m pip install --quiet --requirement "$dir/requirements.txt"
"$dir/bin/python" -m pip install --quiet --no-deps --editable .
OMP_NUM_THREADS=1 exec "$dir/bin/python" -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile "$@"
