"""The public API; `__init__.py` imports each name when it is first used."""

from . import scoring, systems
from .dataset.dataset import Dataset, find_dataset, load_dataset
from .dataset.export import export
from .dataset.make import make
from .dataset.overlap import overlap
from .dataset.plan import plan
from .dataset.probes import probe_shifts
from .dataset.splits import splits
from .dataset.verify import verify
from .errors import InputError, RemixbenchError
from .inference.recordings import predict, separate
from .inference.system import load_system
from .leaderboard.encoder_probe import probe
from .leaderboard.figure import figure
from .leaderboard.report import report
from .leaderboard.score import score
from .plots.show import show
from .recipe import Recipe, load_recipe
from .sources.download import download
from .sources.download.check import check_sources
from .training.data import ClipDataset
from .training.embeddings import embed
from .training.fresh import FreshMixtures
from .training.train import train

__version__: str

__all__ = [
    "ClipDataset",
    "Dataset",
    "FreshMixtures",
    "InputError",
    "Recipe",
    "RemixbenchError",
    "check_sources",
    "download",
    "embed",
    "export",
    "figure",
    "find_dataset",
    "load_dataset",
    "load_recipe",
    "load_system",
    "make",
    "overlap",
    "plan",
    "predict",
    "probe",
    "probe_shifts",
    "report",
    "score",
    "scoring",
    "separate",
    "show",
    "splits",
    "systems",
    "train",
    "verify",
]
