"""remixbench: a benchmark for weakly supervised sound event detection in noise, from little data.

Every command, except `recipes` and `systems`, is a function of this package, imported on first use::

    import remixbench

    dataset = remixbench.make(recipe="mini", snr=[0, 10, 20], workspace="work")
    remixbench.train(dataset=dataset, system=["gap"], workspace="work")
    remixbench.score(dataset=dataset, workspace="work")
"""

from __future__ import annotations

import lazy_loader

__version__ = "0.1.0"

# __init__.pyi lists the imports, for type checkers and for lazy_loader
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
