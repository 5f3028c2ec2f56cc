"""Metrics of predictions for sound event data; imports no torch.

One line each on arrays or DCASE tables: `average_precision`, `lwlrap`, `segment_based`, `event_based`,
`intersection_based`, `psds`, and on waveforms `sdr`, `si_sdr` and improvements in these. All metrics of a fold at once,
with intervals: `score_predictions`.
"""

from __future__ import annotations

import lazy_loader

# __init__.pyi names what is imported from where, for type checkers and for lazy_loader alike
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
