"""The card of an exported data set: what it is, its protocol, on which terms it may be used, how to cite it."""

from __future__ import annotations

import re
from collections import Counter
from importlib.metadata import version

from remixbench.dataset.dataset import Dataset, snr_folder
from remixbench.dataset.export.audiofolder import audiofolder_header
from remixbench.dataset.export.clips import SPLITS, Export, ExportedClip
from remixbench.dataset.finalize import NOTICES
from remixbench.errors import shortened
from remixbench.files import write_text
from remixbench.recipe import format_snrs
from remixbench.sources import fsdkaggle2018, tau2019
from remixbench.sources.licences import UNKNOWN, Terms, joint_terms, terms_of
from remixbench.tables import read_table

PAPER = "https://doi.org/10.21437/Interspeech.2021-2079"
PAPER_CITATION = (
    "S. Deshmukh, B. Raj, R. Singh: Improving weakly supervised sound event detection with self-supervised auxiliary"
    f" tasks. Interspeech 2021, 596-600. {PAPER}"
)
SOURCE_CITATIONS = {"tau2019": tau2019.CITATION, "fsdkaggle2018": fsdkaggle2018.CITATION}
MARKUP = re.compile(r"[\\`*\[\]<>&|#~]|(?<!\w)_|_(?!\w)")
READERS = {
    "audiofolder": 'datasets.load_dataset("FOLDER", "{config}")',
    "webdataset": 'webdataset.WebDataset("FOLDER/{config}/train-000000.tar")',
    "lhotse": 'lhotse.CutSet.from_jsonl("FOLDER/{config}/train_cuts.jsonl")',
    "croissant": 'mlcroissant.Dataset("FOLDER/croissant.json").records("clips")',
}


def joint_terms_of(dataset: Dataset) -> tuple[Terms, list[str]]:
    """Return what all recordings of a data set together allow, and the licence of each, from ATTRIBUTION.csv."""
    table = read_table(dataset.path / "ATTRIBUTION.csv", columns=("kind", "file", "licence"))
    licences = [licence or UNKNOWN for licence in table.column("licence")]
    return joint_terms(licences), licences


def terms(dataset: Dataset) -> str:
    """Return in a few sentences on which terms clips may be used and passed on: the strictest licence decides."""
    joint, licences = joint_terms_of(dataset)
    strict = [licence for licence in licences if terms_of(licence).forbidden or terms_of(licence).unknown]
    metadata = "Pass on manifests, labels and metadata, from which anyone with the recordings makes the same clips"
    if strict:
        named = shortened([f"'{licence}'" for licence in sorted(set(strict))])
        return (
            f"Clips may not be passed on: {len(strict)} of {len(licences)} recordings have a licence that is unknown or"
            f" does not allow it ({named}; ATTRIBUTION.csv names the licence of each). {metadata}."
        )
    if joint == Terms():
        synthesised = {dataset.recipe.scenes.source, dataset.recipe.events.source} == {"synthetic"}
        return f"All recordings are {'synthesised, ' * synthesised}in the public domain (CC0). Clips may be passed on."
    conditions = [
        text
        for holds, text in (
            (joint.noncommercial, "for non-commercial use only"),
            (joint.attribution, "with ATTRIBUTION.csv, which names the licence of each recording"),
            ((dataset.path / NOTICES).is_file(), f"with {NOTICES}"),
            (joint.share_alike, "under the licence of the recordings that ask for it"),
        )
        if holds
    ]
    text = f"Clips may be used and passed on {', '.join(conditions)}: the strictest of their licences decides."
    return f"{text} {metadata}, rather than the clips." if joint.noncommercial else text


def terms_and_notice(dataset: Dataset) -> tuple[str, ...]:
    """Return what must stand beside clips that are passed on: terms of use, and the notices of their sources."""
    if "ATTRIBUTION.csv" not in dataset.info.files:
        return ()
    notice = dataset.path / NOTICES
    return (terms(dataset), *(notice.read_text(encoding="utf-8").split("\n\n") if notice.is_file() else ()))


def citations(dataset: Dataset) -> list[str]:
    """Return what to cite: the paper where its data set's sources are used, the sources, and remixbench."""
    sources = dict.fromkeys((dataset.recipe.scenes.source, dataset.recipe.events.source))
    cited = [SOURCE_CITATIONS[source] for source in sources if source in SOURCE_CITATIONS]
    paper = [PAPER_CITATION] if is_of_the_paper(dataset) else []
    return [*paper, *cited, f"The remixbench authors: remixbench, version {version('remixbench')}"]


def is_of_the_paper(dataset: Dataset) -> bool:
    """Say whether a data set is made from the recordings of the paper's."""
    return (dataset.recipe.scenes.source, dataset.recipe.events.source) == ("tau2019", "fsdkaggle2018")


def as_text(text: str) -> str:
    """Return text such that Markdown shows it as it is."""
    return MARKUP.sub(lambda mark: "\\" + mark[0], text)


def write_card(export: Export, format: str, clips: dict[float, list[ExportedClip]]) -> None:
    """Write README.md; for AudioFolder with the YAML header that names a config per SNR."""
    dataset = export.dataset
    lines = []
    if format == "audiofolder":
        licence = "cc0-1.0" if joint_terms_of(dataset)[0] == Terms() else "other"
        lines += [*audiofolder_header(dataset.name, licence, clips), ""]
    counts = Counter(clip.split for clip in next(iter(clips.values())))
    recipe = dataset.recipe
    config = snr_folder(next(iter(clips)))
    lines += [
        f"# {as_text(dataset.name)}",
        "",
        as_text(f"{recipe.description[0].upper()}{recipe.description[1:]}."),
        "",
        f"* **Protocol**: fold {export.fold} is tested: "
        + ", ".join(f"{counts[split]} clips {split}" for split in SPLITS if counts[split])
        + ". The validation part shares no event recording with the training part unless the recipe leaves no choice.",
        f"* **Clips**: {recipe.mix.duration:g} s at {recipe.mix.sample_rate} Hz, mono, 16 bits, at"
        f" {format_snrs(list(clips), recipe.mix.snr_offsets)} SNR ({recipe.mix.level} of {recipe.mix.snr_reference}).",
        f"* **Classes** ({len(dataset.classes)}): {as_text(', '.join(dataset.classes))}.",
        "* **Labels**: weak (`labels`) and strong (`events`: onset, offset in seconds, measured SNR in dB).",
        f"* **Comparable with published results**: {'yes' if dataset.info.comparable else 'no'}"
        + (f" ({as_text('; '.join(dataset.not_comparable))})" if dataset.not_comparable else "")
        + ".",
        f"* **Manifest**: SHA-256 `{dataset.manifest_digest}`.",
        "",
        f"Read it with `{READERS[format].format(config=config)}`.",
        "",
        "## Terms of use",
        "",
        as_text(terms(dataset)),
        "",
        "## Citation",
        "",
        *(f"* {citation}" for citation in citations(dataset)),
        "",
    ]
    write_text(export.out / "README.md", "\n".join(lines))
