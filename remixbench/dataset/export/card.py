"""The card of an exported data set: what it is, its protocol, on which terms it may be used, how to cite it."""

from __future__ import annotations

from collections import Counter

from remixbench.dataset.dataset import Dataset, snr_folder
from remixbench.dataset.export.audiofolder import audiofolder_header
from remixbench.dataset.export.clips import SPLITS, Export, ExportedClip
from remixbench.files import write_text

PAPER = "https://doi.org/10.21437/Interspeech.2021-2079"
CITATION = (
    "Soham Deshmukh, Bhiksha Raj, Rita Singh: Improving weakly supervised sound event detection with self-supervised"
    " auxiliary tasks. Interspeech 2021"
)
READERS = {
    "audiofolder": 'datasets.load_dataset("FOLDER", "{config}")',
    "webdataset": 'webdataset.WebDataset("FOLDER/{config}/train-000000.tar")',
    "lhotse": 'lhotse.CutSet.from_jsonl("FOLDER/{config}/train_cuts.jsonl")',
    "croissant": 'mlcroissant.Dataset("FOLDER/croissant.json").records("clips")',
}


def terms(dataset: Dataset) -> str:
    """Return in two sentences on which terms the audio may be used, and what may be passed on."""
    match dataset.recipe.scenes.source:
        case "tau2019":
            return (
                "The scenes (TAU Urban Acoustic Scenes 2019) are for non-commercial use only, and so are clips made"
                " from them; each event recording has a licence of its own (ATTRIBUTION.csv). Pass on manifests, labels"
                " and metadata, from which anyone makes the same clips, rather than the clips."
            )
        case "synthetic":
            return "All sounds are synthesised and in the public domain (CC0). Clips and labels may be passed on."
        case _:
            return (
                "The terms of the recordings are those of the folders they come from (ATTRIBUTION.csv; unknown where"
                " the table names none). Pass on clips only where all of these allow it."
            )


def write_card(export: Export, format: str, clips: dict[float, list[ExportedClip]]) -> None:
    """Write README.md; for AudioFolder with the YAML header that names a config per SNR."""
    dataset = export.dataset
    lines = []
    if format == "audiofolder":
        lines += [*audiofolder_header(dataset.name, clips), ""]
    counts = Counter(clip.split for clip in next(iter(clips.values())))
    recipe = dataset.recipe
    config = snr_folder(next(iter(clips)))
    lines += [
        f"# {dataset.name}",
        "",
        f"{recipe.description[0].upper()}{recipe.description[1:]}.",
        "",
        f"* **Protocol**: fold {export.fold} is tested: "
        + ", ".join(f"{counts[split]} clips {split}" for split in SPLITS if counts[split])
        + ". The validation part shares no event recording with the training part unless the recipe leaves no choice.",
        f"* **Clips**: {recipe.mix.duration:g} s at {recipe.mix.sample_rate} Hz, mono, 16 bits, at"
        f" {', '.join(f'{snr:g}' for snr in clips)} dB SNR ({recipe.mix.level} of {recipe.mix.snr_reference}).",
        f"* **Classes** ({len(dataset.classes)}): {', '.join(dataset.classes)}.",
        "* **Labels**: weak (`labels`) and strong (`events`: onset, offset in seconds, measured SNR in dB).",
        f"* **Comparable with published results**: {'yes' if dataset.info.comparable else 'no'}"
        + (f" ({'; '.join(dataset.not_comparable)})" if dataset.not_comparable else "")
        + ".",
        f"* **Manifest**: SHA-256 `{dataset.manifest_digest}`.",
        "",
        f"Read it with `{READERS[format].format(config=config)}`.",
        "",
        "## Terms of use",
        "",
        terms(dataset),
        "",
        "## Citation",
        "",
        f"{CITATION}. {PAPER}",
        "",
    ]
    write_text(export.out / "README.md", "\n".join(lines))
