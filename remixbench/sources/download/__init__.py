"""Download of the published sources: from the files of two Zenodo records to verified recordings on disk.

`core` is the command; `select` chooses among the archives of published sources; `archive` takes one archive
through its steps; `transfer` resumes and verifies one file; `http` retries requests and limits their rate; `unzip`
unpacks; `check` checks recordings against the tables; `threads` runs downloads in parallel.
"""

from __future__ import annotations

from remixbench.sources.download.archive import downloaded_parts
from remixbench.sources.download.check import check_sources, raise_if_invalid
from remixbench.sources.download.core import Downloaded, download
from remixbench.sources.download.http import RetryPolicy
from remixbench.sources.download.select import list_urls

__all__ = [
    "Downloaded",
    "RetryPolicy",
    "check_sources",
    "download",
    "downloaded_parts",
    "list_urls",
    "raise_if_invalid",
]
