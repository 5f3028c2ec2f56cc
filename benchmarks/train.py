"""How fast training is: clips per second, against two plain loops, and against the machine's matrix product.

    python benchmarks/train.py [--system NAME...] [--batch-size N] [--batches N] [--turns N] [--threads N]

The plain loop is the released form in a process as torch starts it: float32, rows-first memory, unfused Adam, one
loss read back each batch. The defaults are PyTorch's, with bfloat16 by autocast; that column is empty on a device that
has no bfloat16 products and would emulate them. Ours is the loop of `remixbench train` in a process as the command sets
it up, with the system's own training (augmentation, weight average). All train the same network on the same clips, in
turns, so that other load on the machine meets them alike; medians are reported. The share of peak counts the products
of forward and backward pass, as torch's flop counter does, against the best of a large matrix product in the same
precision and the same run.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from remixbench.parallel import prepare_for_torch
from remixbench.systems import list_systems, spec

HEADS = {
    "plain": "plain float32",
    "defaults": "PyTorch defaults, bfloat16",
    "ours": "ours",
    "to_plain": "to plain",
    "to_defaults": "to defaults",
}
COLUMNS = {key: max(8, len(head)) for key, head in HEADS.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    systems = [name for name in list_systems() if not spec(name).takes_embeddings]
    parser.add_argument("--system", nargs="+", default=systems)
    parser.add_argument("--batch-size", type=int, default=None, help="default: 8 on a CPU, 24 on a GPU")
    parser.add_argument("--batches", type=int, default=2, help="batches an epoch")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    arguments = parser.parse_args()
    # not above: a spawned process imports this module first, and torch must come after `prepare_for_torch`
    import loops

    work = loops.Work(arguments.device, arguments.precision, arguments.threads, arguments.batch_size, arguments.batches)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn) as plain, ProcessPoolExecutor(1, spawn, initializer=prepare_for_torch) as ours:
        machine = ours.submit(loops.describe, work).result()
        roles = {"plain": plain, "ours": ours} | ({"defaults": plain} if machine["has_bf16"] else {})
        best = ours.submit(loops.peak, work).result()
        print(f"{machine['machine']}, {machine['threads']} threads, torch {machine['torch']}, {machine['precision']},"
              f" batch {machine['batch_size']}; matrix product {best / 1e9:.0f} GFLOP/s")  # fmt: skip
        print(
            "clips per second\n"
            + f"{'system':16} "
            + " ".join(f"{HEADS[key]:>{wide}}" for key, wide in COLUMNS.items())
        )
        rows: list[dict[str, Any]] = []
        for system in arguments.system:
            turns = [
                {role: pool.submit(loops.speed, role, system, work).result() for role, pool in roles.items()}
                for _ in range(arguments.turns)
            ]
            row: dict[str, Any] = {"system": system, "flops": plain.submit(loops.flops, system, work).result()}
            row |= {role: statistics.median(turn[role] for turn in turns) for role in roles}
            for role in roles.keys() - {"ours"}:
                row[f"to_{role}"] = statistics.median(turn["ours"] / turn[role] for turn in turns)
            rows.append(row)
            print(f"{system:16} " + " ".join(_cell(row.get(key), wide) for key, wide in COLUMNS.items()), flush=True)
            best = max(best, ours.submit(loops.peak, work).result())
    for row in rows:
        row["of_peak"] = row["ours"] * row["flops"] / best
    print(f"of {best / 1e9:.0f} GFLOP/s, the best product seen: "
          + ", ".join(f"{row['system']} {row['of_peak']:.0%}" for row in rows))  # fmt: skip
    print(json.dumps({**machine, "peak": best, "rows": rows}))


def _cell(value: float | None, wide: int) -> str:
    return f"{'-':>{wide}}" if value is None else f"{value:{wide}.2f}"


if __name__ == "__main__":
    main()
