"""A guard around every public function of bin/: it fails the test in which a function changes one of its arguments."""

import collections
import functools
import importlib
import inspect
import os
import sys
import types
from pathlib import Path

import anndata
import joblib
import numpy as np
import pandas as pd
from scipy import sparse

BIN = Path(__file__).resolve().parent.parent / "bin"
# Digests of the arguments of all calls doubled the time of tests (docs/decisions/0003).
CALLS_OF_A_TEST = 3
# What holds data. Open files, axes and random generators are handles: using one is not changing an argument.
DATA = (
    np.ndarray,
    pd.DataFrame,
    pd.Series,
    pd.Index,
    sparse.spmatrix,
    sparse.sparray,
    anndata.AnnData,
    list,
    tuple,
    dict,
    set,
)


def content(value: object) -> object:
    """What a value holds, without the flags and caches that scipy and anndata keep beside it."""
    if isinstance(value, anndata.AnnData):
        layers = {name: content(value.layers[name]) for name in value.layers}
        return [content(value.X), value.obs, value.var, layers, dict(value.obsm)]
    if isinstance(value, sparse.spmatrix | sparse.sparray):
        return [
            value.shape,
            value.format,
            *(getattr(value, part) for part in ("data", "indices", "indptr") if hasattr(value, part)),
        ]
    return value


def fingerprint(value: object) -> str | None:
    """A digest of a value that holds data; None for anything else, or where the value cannot be taken apart."""
    if not isinstance(value, DATA):
        return None
    try:
        return joblib.hash(content(value))
    except Exception:
        return None


def guarded(function: types.FunctionType) -> types.FunctionType:
    """The function, followed by a check that its arguments are what they were, in its first calls of each test."""
    signature = inspect.signature(function)
    calls: collections.Counter[str] = collections.Counter()

    @functools.wraps(function)
    def call(*args: object, **kwargs: object) -> object:
        test = os.environ.get("PYTEST_CURRENT_TEST", "")  # of each part (set-up, call) of each test
        calls[test] += 1
        if calls[test] > CALLS_OF_A_TEST:
            return function(*args, **kwargs)
        arguments = signature.bind(*args, **kwargs).arguments
        before = {name: fingerprint(value) for name, value in arguments.items()}
        result = function(*args, **kwargs)
        for name, value in arguments.items():
            if before[name] is not None:
                assert fingerprint(value) == before[name], f"{function.__module__}.{function.__name__} changed '{name}'"
        return result

    call.is_guarded = True
    return call


def public_functions() -> dict[str, types.FunctionType]:
    """Every public function of the modules of bin/ by its full name; those that say `_inplace` are free to."""
    found = {}
    for path in sorted(BIN.rglob("*.py")):
        module = importlib.import_module(
            ".".join(path.relative_to(BIN).with_suffix("").parts).removesuffix(".__init__")
        )
        for name, value in vars(module).items():
            own = inspect.isfunction(value) and value.__module__ == module.__name__
            if own and not name.startswith("_") and not name.endswith("_inplace"):
                found[f"{module.__name__}.{name}"] = value
    return found


def guard_everything() -> int:
    """Put the guard around every public function wherever it was imported; returns how many there are."""
    wrapped = {
        function: guarded(function) for function in public_functions().values() if not hasattr(function, "is_guarded")
    }
    for module in list(sys.modules.values()):
        if isinstance(module, types.ModuleType):
            for name, value in list(vars(module).items()):
                if inspect.isfunction(value) and value in wrapped:
                    setattr(module, name, wrapped[value])
    return len(wrapped)
