"""Curves for TensorBoard, for those who want to watch a training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from remixbench.errors import InputError
from remixbench.training.storage import Epoch


def require_tensorboard() -> None:
    """Check that the package is there.

    Raises
    ------
    InputError
        If it is not.
    """
    try:
        import tensorboard  # noqa: F401 - only whether it is there
    except ImportError:
        raise InputError(
            "--tensorboard: the package tensorboard is not installed; `pip install 'remixbench[tensorboard]'`"
        ) from None


def tensorboard_writer(folder: Path, done: int) -> Callable[[Epoch], None]:
    """Return what writes an epoch's figures into `<folder>/tensorboard`.

    What lies there beyond epoch `done` is void.
    """
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder / "tensorboard"), purge_step=done + 1)

    def write(epoch: Epoch) -> None:
        for name in ("loss", "validation_micro_ap", "test_micro_ap", "learning_rate"):
            value = getattr(epoch, name)
            if value is not None:
                writer.add_scalar(name, value, epoch.epoch)
        writer.flush()

    return write
