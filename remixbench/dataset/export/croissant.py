"""Croissant 1.1: metadata and label tables of a data set, to be published where its audio may not be.

https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html
"""

from __future__ import annotations

from typing import Any

from remixbench.dataset.export.card import PAPER, citations, is_of_the_paper, terms
from remixbench.dataset.export.clips import Export, ExportedClip
from remixbench.files import sha256, write_bytes, write_json
from remixbench.progress import Progress
from remixbench.tables import format_table

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
                (clip.audio.name, f"{snr:.12g}", event.onset, event.offset, event.label, _blank(event.snr))
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


def _blank(value: float | None) -> object:
    return "" if value is None else value


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
