"""Descriptions of an exported data set: its card, and Croissant 1.1 metadata, for audio that may not be published.

The card states contents, protocol, terms of use and citation. Croissant:
https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html
"""

from __future__ import annotations

import re
from collections import Counter
from importlib.metadata import version
from typing import Any

from remixbench.dataset.dataset import Dataset, snr_folder
from remixbench.dataset.export.formats import SPLITS, Export, ExportedClip, audiofolder_header
from remixbench.dataset.finalize import NOTICES
from remixbench.errors import shortened
from remixbench.files import sha256, write_bytes, write_json, write_text
from remixbench.progress import Progress
from remixbench.recipe import format_snrs
from remixbench.sources.licences import UNKNOWN, Terms, joint_terms, terms_of
from remixbench.sources.published import published_sources
from remixbench.tables import format_table, read_table

PAPER = "https://doi.org/10.21437/Interspeech.2021-2079"
PAPER_CITATION = (
    "S. Deshmukh, B. Raj, R. Singh: Improving weakly supervised sound event detection with self-supervised auxiliary"
    f" tasks. Interspeech 2021, 596-600. {PAPER}"
)
MARKUP = re.compile(r"[\\`*\[\]<>&|#~]|(?<!\w)_|_(?!\w)")
READERS = {
    "audiofolder": 'datasets.load_dataset("FOLDER", "{config}")',
    "webdataset": 'webdataset.WebDataset("FOLDER/{config}/train-000000.tar")',
    "lhotse": 'lhotse.CutSet.from_jsonl("FOLDER/{config}/train_cuts.jsonl")',
    "croissant": 'mlcroissant.Dataset("FOLDER/croissant.json").records("clips")',
}


def joint_terms_of(dataset: Dataset) -> tuple[Terms, list[str]]:
    """Return the joint terms of a data set's recordings, and the licence of each, from ATTRIBUTION.csv."""
    table = read_table(dataset.path / "ATTRIBUTION.csv", columns=("kind", "file", "licence"))
    licences = [licence or UNKNOWN for licence in table.column("licence")]
    return joint_terms(licences), licences


def terms(dataset: Dataset) -> str:
    """Return the terms on which clips may be used and passed on, in a few sentences; the strictest licence decides."""
    joint, licences = joint_terms_of(dataset)
    restrictive = [licence for licence in licences if terms_of(licence).forbidden or terms_of(licence).unknown]
    metadata = "Pass on manifests, labels and metadata, from which anyone with the recordings makes the same clips"
    if restrictive:
        licence_names = shortened([f"'{licence}'" for licence in sorted(set(restrictive))])
        return (
            f"Clips may not be passed on: {len(restrictive)} of {len(licences)} recordings have a licence that is"
            f" unknown or does not allow it ({licence_names}; ATTRIBUTION.csv names the licence of each). {metadata}."
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
    """Return the texts that must accompany clips that are passed on: terms of use, and notices of the sources."""
    if "ATTRIBUTION.csv" not in dataset.info.files:
        return ()
    notice = dataset.path / NOTICES
    return (terms(dataset), *(notice.read_text(encoding="utf-8").split("\n\n") if notice.is_file() else ()))


def citations(dataset: Dataset) -> list[str]:
    """Return the citations of the paper (if its sources are used), of the sources, and of remixbench."""
    sources = dict.fromkeys((dataset.recipe.scenes.source, dataset.recipe.events.source))
    published = published_sources()
    cited = [published[source].citation for source in sources if source in published]
    paper = [PAPER_CITATION] if is_of_the_paper(dataset) else []
    return [*paper, *cited, f"The remixbench authors: remixbench, version {version('remixbench')}"]


def is_of_the_paper(dataset: Dataset) -> bool:
    """Return whether a data set is made from the paper's sources."""
    return (dataset.recipe.scenes.source, dataset.recipe.events.source) == ("tau2019", "fsdkaggle2018")


def as_text(text: str) -> str:
    """Escape text for Markdown."""
    return MARKUP.sub(lambda mark: "\\" + mark[0], text)


def write_card(export: Export, format: str, clips: dict[float, list[ExportedClip]]) -> None:
    """Write the card, README.md; for AudioFolder with a YAML header that defines a config per SNR."""
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


CONTEXT: dict[str, Any] = {
    "@language": "en", "@vocab": "https://schema.org/", "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/", "dct": "http://purl.org/dc/terms/", "rai": "http://mlcommons.org/croissant/RAI/",
    "citeAs": "cr:citeAs", "column": "cr:column", "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"}, "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "extract": "cr:extract", "field": "cr:field", "fileObject": "cr:fileObject", "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet", "format": "cr:format", "includes": "cr:includes", "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath", "key": "cr:key", "md5": "cr:md5", "parentField": "cr:parentField", "path": "cr:path",
    "recordSet": "cr:recordSet", "references": "cr:references", "regex": "cr:regex", "repeated": "cr:repeated",
    "replace": "cr:replace", "samplingRate": "cr:samplingRate", "separator": "cr:separator", "source": "cr:source",
    "subField": "cr:subField", "transform": "cr:transform",
    "examples": {"@id": "cr:examples", "@type": "@json"},
}  # fmt: skip
CLIP_COLUMNS = {
    "filename": "sc:Text", "split": "sc:Text", "fold": "sc:Integer", "scene": "sc:Text", "labels": "sc:Text"
}  # fmt: skip
EVENT_COLUMNS = {
    "filename": "sc:Text", "snr": "sc:Float", "onset": "sc:Float", "offset": "sc:Float", "event_label": "sc:Text",
    "achieved_snr": "sc:Float",
}  # fmt: skip


def write_croissant(export: Export, clips: dict[float, list[ExportedClip]], progress: Progress) -> None:
    """Write croissant.json, clips.csv (split and weak labels) and events.csv (strong labels and levels, per SNR)."""
    first = next(iter(clips.values()))
    tables = {
        "clips": format_table(
            list(CLIP_COLUMNS), [(c.audio.name, c.split, c.fold, c.scene, ",".join(c.labels)) for c in first]
        ),
        "events": format_table(
            list(EVENT_COLUMNS),
            [
                (clip.audio.name, f"{snr:.12g}", *event.fields())
                for snr, of_snr in clips.items()
                for clip in of_snr
                for event in clip.events
            ],
        ),
    }
    for name, data in tables.items():
        write_bytes(export.out / f"{name}.csv", data)
    dataset = export.dataset
    columns = {"clips": CLIP_COLUMNS, "events": EVENT_COLUMNS}
    write_json(
        export.out / "croissant.json",
        {
            "@context": CONTEXT,
            "@type": "sc:Dataset",
            "conformsTo": "http://mlcommons.org/croissant/1.1",
            "name": dataset.name,
            "description": f"{dataset.recipe.description}. {terms(dataset)}",
            "license": terms(dataset),
            "creator": {"@type": "sc:Organization", "name": "remixbench"},
            "datePublished": dataset.info.made[:10],
            "version": "1.0.0",
            "citeAs": ". ".join(citations(dataset)),
            **({"url": PAPER} if is_of_the_paper(dataset) else {}),
            "distribution": [
                {
                    "@type": "cr:FileObject", "@id": f"{name}.csv", "name": f"{name}.csv", "contentUrl": f"{name}.csv",
                    "encodingFormat": "text/csv", "sha256": sha256(data),
                }
                for name, data in tables.items()
            ],
            "recordSet": [_record_set(name, columns[name]) for name in tables],
        },
    )  # fmt: skip
    progress.say(f"{export.out}: croissant.json, without audio")


def _record_set(name: str, columns: dict[str, str]) -> dict[str, Any]:
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"{name}/{column}",
            "name": column,
            "dataType": kind,
            "source": {"fileObject": {"@id": f"{name}.csv"}, "extract": {"column": column}},
        }
        for column, kind in columns.items()
    ]
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "field": fields}
