#!/usr/bin/env python3
"""Import umap-learn without the compiling that it does not need here.

`import umap` imports pynndescent, which compiles some hundred distance functions on import (9-16 CPU seconds,
paid by every task). Neighbours come from faiss, so none of them is ever called: pynndescent is imported
uncompiled. The two functions of umap that build the fuzzy graph take 5 seconds to compile; numba keeps them
in `NUMBA_CACHE_DIR`.
"""

import contextlib
import warnings
from types import ModuleType


def import_umap() -> ModuleType:
    """The module `umap.umap_`, ready to use."""
    from numba.core import config

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportWarning)  # no tensorflow: parametric UMAP is not used
        enabled = config.DISABLE_JIT
        config.DISABLE_JIT = 1
        try:
            import pynndescent  # noqa: F401
        finally:
            config.DISABLE_JIT = enabled
        import umap.umap_
    for function in (umap.umap_.smooth_knn_dist, umap.umap_.compute_membership_strengths):
        with contextlib.suppress(RuntimeError):  # no folder to write to: it is compiled anew
            function.enable_caching()
    return umap.umap_
