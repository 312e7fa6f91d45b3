"""Models in pickles: what scikit-learn wrote is read exactly, and nothing that a file says is ever run."""

import builtins
import contextlib
import functools
import io
import os
import pickle
import random
import struct
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.linear_model import Lasso, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from immune_aging.prediction.estimator_file import read_scaled_ridge
from immune_aging.task.command_line import BadInput
from inputs.statistics_inputs import fit_scaled_ridge


def written(model: object, **options: object) -> bytes:
    file = io.BytesIO()
    joblib.dump(model, file, **options)
    return file.getvalue()


@pytest.mark.parametrize("protocol", [4, 5])
@pytest.mark.parametrize("kind", ["f8", "f4"])
def test_the_numbers_are_those_of_the_model(protocol, kind):
    """The pipeline's own predictions: for zeros the intercept, and one more for each feature by itself."""
    model = fit_scaled_ridge(30)
    model[-1].coef_ = model[-1].coef_.astype(kind)
    intercept, weights = read_scaled_ridge(written(model, protocol=protocol), "m.pkl")
    predicted = model.predict(np.vstack([np.zeros(30), np.eye(30)]))
    assert intercept == pytest.approx(predicted[0], rel=1e-12)
    np.testing.assert_allclose(weights, predicted[1:] - predicted[0], rtol=1e-9)


def test_a_model_without_intercept_is_read():
    model = make_pipeline(StandardScaler(), Ridge(fit_intercept=False)).fit(np.eye(4), [1.0, 2, 3, 4])
    intercept, _ = read_scaled_ridge(written(model), "m.pkl")
    assert intercept == pytest.approx(model.predict(np.zeros((1, 4)))[0])


# --- attacks -------------------------------------------------------------------------------------------------------


class Attack:
    """Whoever loads it gets what `call` returns for `arguments`."""

    def __init__(self, call, *arguments):
        self.reduced = (call, arguments)

    def __reduce__(self):
        return self.reduced


class AttackOnState:
    """Whoever loads it sets the state of a `functools.partial`, which is a function of the attacker's choice."""

    def __init__(self, call, *arguments):
        self.reduced = (functools.partial, (print,), (call, arguments, {}, None))

    def __reduce__(self):
        return self.reduced


def touch(path: Path) -> str:
    return f"touch '{path}'"


def within_a_model(attack: object) -> bytes:
    model = fit_scaled_ridge(5)
    model[-1].random_state = attack
    return written(model)


def in_place_of_an_array(attack: object) -> bytes:
    model = fit_scaled_ridge(5)
    model[-1].coef_ = attack
    return written(model)


def as_objects(attack: object) -> bytes:
    """An array of objects, which joblib writes as a pickle of its own behind the description."""
    return in_place_of_an_array(np.array([attack, 1.0, 1.0, 1.0, 1.0], dtype=object))


def as_scalar_of_objects(attack: object) -> bytes:
    """A scalar of type object, which numpy makes by loading what it is given."""
    scalar = np._core.multiarray.scalar
    return within_a_model(Attack(scalar, np.dtype("O"), attack))


def with_old_instructions(path: Path) -> bytes:
    return f"cos\nsystem\n(V{touch(path)}\ntR.".encode()


def instance_of(path: Path) -> bytes:
    return f"(V{touch(path)}\nios\nsystem\n.".encode()


def object_of(path: Path) -> bytes:
    return f"(cos\nsystem\nV{touch(path)}\no.".encode()


def through_an_allowed_module(path: Path) -> bytes:
    """A dotted name that starts in a module of the list and walks to another."""
    name, command = b"multiarray.os.system", touch(path).encode()
    parts = [b"\x8c" + bytes([len(text)]) + text for text in (b"numpy.core", name, command)]
    return b"\x80\x04" + parts[0] + parts[1] + b"\x93" + parts[2] + b"\x85R."


ATTACKS = {
    "a command": lambda path: written(Attack(os.system, touch(path))),
    "an expression": lambda path: written(Attack(builtins.eval, f"__import__('os').mkdir({str(path)!r})")),
    "a program": lambda path: written(Attack(builtins.exec, f"__import__('os').mkdir({str(path)!r})")),
    "a folder": lambda path: written(Attack(os.mkdir, str(path))),
    "inside a genuine model": lambda path: within_a_model(Attack(os.system, touch(path))),
    "in place of an array": lambda path: in_place_of_an_array(Attack(os.system, touch(path))),
    "in an array of objects": lambda path: as_objects(Attack(os.system, touch(path))),
    "in a scalar of objects": lambda path: as_scalar_of_objects(Attack(os.system, touch(path))),
    "the state of a function": lambda path: within_a_model(AttackOnState(os.system, touch(path))),
    "a class made by a call": lambda path: within_a_model(Attack(functools.partial(os.system, touch(path)))),
    "old instructions": with_old_instructions,
    "an old instance": instance_of,
    "an old object": object_of,
    "a name through an allowed module": through_an_allowed_module,
}
NOT_RUN_BY_LOADING = {"the state of a function", "a name through an allowed module"}  # parts of longer attacks


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_in_one_line_and_runs_nothing(name, tmp_path):
    """Each is real: loaded as its author means it to be, all but the two named above leave their file behind."""
    content = ATTACKS[name](tmp_path / "pwned")
    with pytest.raises(BadInput, match=r"model\.pkl: is not read, .*; nothing of it was run") as caught:
        read_scaled_ridge(content, "model.pkl")
    assert str(caught.value).isprintable()
    assert not (tmp_path / "pwned").exists()
    if name not in NOT_RUN_BY_LOADING:
        with contextlib.suppress(TypeError):  # numpy refuses scalars of objects, after it was too late
            joblib.load(io.BytesIO(content))
        assert (tmp_path / "pwned").exists()


def test_reading_imports_and_calls_nothing(tmp_path):
    """What Python itself reports to its audit hooks while the attacks, and a genuine model, are read."""
    contents = [make(tmp_path / "pwned") for make in ATTACKS.values()] + [written(fit_scaled_ridge(5))]
    seen, watched = [], {"import", "exec", "compile", "open", "os.system", "subprocess.Popen", "pickle.find_class"}
    watching = False

    def watch(event: str, _arguments: tuple) -> None:
        if watching and event in watched:
            seen.append(event)

    def read_all() -> None:
        for content in contents:
            with contextlib.suppress(BadInput):
                read_scaled_ridge(content, "model.pkl")

    sys.addaudithook(watch)  # no hook can be taken away again; this one is idle afterwards
    read_all()  # for what Python and the tests' own tools load at first use
    watching = True
    read_all()
    watching = False
    assert seen == []
    watching = True
    pickle.loads(pickle.dumps(np.float64(1)))
    watching = False
    assert "pickle.find_class" in seen


# --- other files ---------------------------------------------------------------------------------------------------


def another_model() -> bytes:
    return written(make_pipeline(StandardScaler(), Lasso()).fit(np.eye(4), [1, 2, 3, 4]))


def without_scaler() -> bytes:
    return written(Ridge().fit(np.eye(4), [1, 2, 3, 4]))


def without_scaling() -> bytes:
    return written(make_pipeline(StandardScaler(with_std=False), Ridge()).fit(np.eye(4), [1, 2, 3, 4]))


def of_two_ages() -> bytes:
    return written(make_pipeline(StandardScaler(), Ridge()).fit(np.eye(4), np.ones((4, 2))))


def of_other_size() -> bytes:
    model = fit_scaled_ridge(5)
    model[-1].coef_ = np.ones(4)
    return written(model)


def without_spread() -> bytes:
    model = fit_scaled_ridge(5)
    model[0].scale_ = np.zeros(5)
    return written(model)


def without_numbers() -> bytes:
    model = fit_scaled_ridge(5)
    model[-1].coef_ = np.full(5, np.nan)
    return written(model)


def nested() -> bytes:
    return b"\x80\x04)" + b"\x85" * 200_000 + b"."


def nested_key() -> bytes:
    """Hashing it would overflow the stack of the interpreter."""
    return b"\x80\x04})" + b"\x85" * 200_000 + b"Ns."


def huge_array() -> bytes:
    content = written(fit_scaled_ridge(5))
    at = content.index(b"shape")
    at = content.index(b"K\x05", at)
    return content[:at] + b"J" + struct.pack("<i", 2**31 - 1) + content[at + 2 :]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (another_model, "names 'sklearn.linear_model._coordinate_descent.Lasso', which is no part"),
        (without_scaler, "is not read"),
        (without_scaling, "does not scale by mean and SD"),
        (of_two_ages, "holds an array that is no list of numbers"),
        (of_other_size, "do not fit together"),
        (without_spread, "do not fit together"),
        (without_numbers, "has coefficients that are no numbers"),
        (nested, "is not read"),
        (nested_key, "an attribute whose name is no text"),
        (huge_array, "ends within an array"),
        (lambda: written(fit_scaled_ridge(5), compress=3), "is not read"),
        (lambda: b"", "is not read"),
    ],
)
def test_another_file_is_bad_input(make, message):
    with pytest.raises(BadInput, match=message):
        read_scaled_ridge(make(), "model.pkl")


@pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")  # of the disassembler
def test_a_damaged_file_gives_numbers_or_bad_input():
    """Any byte may be wrong and the file may end anywhere: never another error, a crash, or the machine's memory."""
    content, rng = written(fit_scaled_ridge(5)), random.Random(0)
    outcomes = set()
    for _ in range(5000):
        damaged = bytearray(content[: rng.choice([len(content), rng.randrange(len(content))])])
        for _ in range(rng.randrange(1, 4)):
            if damaged:
                damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            intercept, weights = read_scaled_ridge(bytes(damaged), "model.pkl")
            assert np.isfinite(intercept) and np.isfinite(weights).all()
            outcomes.add("numbers")
        except BadInput:
            outcomes.add("refused")
    assert outcomes == {"numbers", "refused"}
