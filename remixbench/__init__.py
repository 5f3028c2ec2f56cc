"""remixbench: weakly supervised sound event detection in noise, from little data, as a benchmark.

Every command of the command line but the lists `recipes` and `systems` is a function here, imported when it is first
used::

    import remixbench

    dataset = remixbench.make(recipe="mini", snr=[0, 10, 20], workspace="work")
    remixbench.train(dataset=dataset, system=["gap"], workspace="work")
    remixbench.score(dataset=dataset, workspace="work")
"""

from __future__ import annotations

import lazy_loader

__version__ = "0.1.0"

# __init__.pyi names what is imported from where, for type checkers and for lazy_loader alike
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
