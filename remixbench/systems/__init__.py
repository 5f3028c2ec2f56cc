"""The networks: the published ones (models.py), and the registry of systems by name.

Names are imported when first used: listing the systems must not cost the import of torch.
"""

from __future__ import annotations

import lazy_loader

# __init__.pyi names what is imported from where, for type checkers and for lazy_loader alike
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
