"""What a joblib file of a scikit-learn model says, read without running it.

A pickle is a program for a stack machine, and two of its instructions fetch a callable by name and call it: loading a
stranger's pickle runs the stranger's code. Here the standard library's disassembler lists the instructions, and only
those that lay down data are followed. Names are compared with a short list of exact ones and never looked up, and what
would be called is kept as a note of its name and arguments (`Note`). So nothing of the file is imported or called,
whatever it says, and any other instruction or name is refused.

joblib puts the values of an array behind the instruction that describes it, as plain bytes after some padding:
https://github.com/joblib/joblib/blob/1.4.2/joblib/numpy_pickle.py. The instructions: `pickletools` of Python.
"""

import io
import math
import pickletools
from dataclasses import dataclass
from typing import Any

import numpy as np

from immune_aging.task.command_line import BadInput

PIPELINE, SCALER = "sklearn.pipeline.Pipeline", "sklearn.preprocessing._data.StandardScaler"
RIDGE, ARRAY = "sklearn.linear_model._ridge.Ridge", "joblib.numpy_pickle.NumpyArrayWrapper"
SCALARS = ("numpy._core.multiarray.scalar", "numpy.core.multiarray.scalar")  # of numpy 2 and 1
NAMES = {PIPELINE, SCALER, RIDGE, ARRAY, *SCALARS, "numpy.dtype", "numpy.ndarray"}
NUMBERS = ("f8", "f4", "i8", "i4")  # an array of objects ("O8") would be a pickle of its own
# Instructions that lay down a value: one that is always the same, a new container, what the file gives with them.
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
EMPTY = {"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict}
PLAIN = {"BININT", "BININT1", "BININT2", "BINFLOAT", "SHORT_BINUNICODE", "BINUNICODE", "SHORT_BINBYTES"}
DAMAGES = (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError)


@dataclass(eq=False, repr=False)
class Note:
    """What the file would make: the name of a class or function, what it gives it, the attributes of the result.

    It compares and prints as an object of its own, since its content may be nested deeper than Python can follow.
    """

    name: str
    arguments: tuple = ()
    state: Any = None


def number_type(note: Note) -> np.dtype:
    """The numpy type that a note of `numpy.dtype` describes: a number's only."""
    code, order = note.arguments[0], note.state[1]
    if note.name != "numpy.dtype" or code not in NUMBERS or order not in ("<", ">", "="):
        raise ValueError("holds an array of something else than numbers")
    return np.dtype(code).newbyteorder(order)


def scalar(value: Any) -> float:
    """A number, which numpy's types write as their bytes."""
    if isinstance(value, Note) and value.name in SCALARS:
        kind, content = value.arguments
        return float(np.frombuffer(content, number_type(kind))[0])
    if type(value) not in (int, float):
        raise ValueError("holds something else where a number belongs")
    return float(value)


def read_array(description: dict, content: bytes, start: int) -> tuple[np.ndarray, int]:
    """The one-dimensional array that follows its description at `start`, and where it ends."""
    kind, shape = number_type(description["dtype"]), description["shape"]
    if len(shape) != 1 or type(shape[0]) is not int or shape[0] < 0:
        raise ValueError("holds an array that is no list of numbers")
    if description.get("numpy_array_alignment_bytes") is not None:  # joblib before 1.2 does not pad
        start += 1 + content[start]
    end = start + shape[0] * kind.itemsize
    if end > len(content):
        raise ValueError("ends within an array")
    return np.frombuffer(content[start:end], kind).astype(float), end


class Stack(list):
    """The stack of a pickle, with its marks."""

    def __init__(self) -> None:
        super().__init__()
        self.marks: list[int] = []

    def mark(self) -> None:
        """Remember how high the stack is."""
        self.marks.append(len(self))

    def take(self, number: int | None = None) -> list:
        """Take this many values off the top; without a number those above the last mark."""
        start = self.marks.pop() if number is None else len(self) - number
        items = self[start:]
        del self[start:]
        return items


def attributes(items: list) -> dict[str, Any]:
    """The attributes of an object, from their names and values in turn."""
    if not all(isinstance(key, str) for key in items[::2]):
        raise ValueError("has an attribute whose name is no text")
    return dict(zip(items[::2], items[1::2], strict=True))


def known_name(name: str) -> str:
    """A name, if such a model has it."""
    if name not in NAMES:
        raise ValueError(f"names {name[:100]!r}, which is no part of such a model")
    return name


def follow(content: bytes) -> Any:
    """What the instructions lay down: plain values, arrays, and a note for each object.

    Raises one of `DAMAGES` for a file that says anything else.
    """
    file = io.BytesIO(content)
    stack, memo = Stack(), []
    for instruction, argument, _ in pickletools.genops(file):
        match instruction.name:
            case "PROTO" | "FRAME":
                pass
            case name if name in CONSTANTS:
                stack.append(CONSTANTS[name])
            case name if name in EMPTY:
                stack.append(EMPTY[name]())
            case name if name in PLAIN:
                stack.append(argument)
            case "MARK":
                stack.mark()
            case "MEMOIZE":
                memo.append(stack[-1])
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])  # type: ignore[index]  # None is one of `DAMAGES`
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(stack.take(int(instruction.name[-1]))))
            case "TUPLE":
                stack.append(tuple(stack.take()))
            case "APPEND" | "APPENDS":
                items = stack.take(1 if instruction.name == "APPEND" else None)
                stack[-1].extend(items)
            case "SETITEM" | "SETITEMS":
                items = stack.take(2 if instruction.name == "SETITEM" else None)
                stack[-1].update(attributes(items))
            case "STACK_GLOBAL":
                stack.append(Note(known_name(".".join(stack.take(2)))))
            case "NEWOBJ" | "REDUCE":
                made, arguments = stack.take(2)
                stack.append(Note(made.name, arguments))
            case "BUILD":
                made, state = stack.take(2)
                made.state = state
                if made.name == ARRAY:
                    made, end = read_array(state, content, file.tell())
                    file.seek(end)
                stack.append(made)
            case "STOP":
                return stack.pop()
            case _:
                raise ValueError(f"has the instruction {instruction.name}, which such a model does not need")
    raise ValueError("ends too early")


def read_scaled_ridge(content: bytes, source: str) -> tuple[float, np.ndarray]:
    """Intercept and weights of a pipeline of StandardScaler and Ridge, as one linear function of what it is given.

    Parameters
    ----------
    content
        The file that joblib wrote, uncompressed.
    source
        What to call it in errors.

    Returns
    -------
    The prediction for zeros everywhere, and the change of the prediction for each unit of each feature.
    """
    try:
        pipeline = follow(content)
        (_, scaler), (_, ridge) = pipeline.state["steps"]
        if (pipeline.name, scaler.name, ridge.name) != (PIPELINE, SCALER, RIDGE):
            raise ValueError("is another model")
        if not (scaler.state["with_mean"] is True and scaler.state["with_std"] is True):
            raise ValueError("does not scale by mean and SD")
        mean, sd, coefficients = scaler.state["mean_"], scaler.state["scale_"], ridge.state["coef_"]
        if not all(isinstance(array, np.ndarray) for array in (mean, sd, coefficients)):
            raise ValueError("holds something else where an array belongs")
        if not mean.size == sd.size == coefficients.size or not (sd > 0).all():
            raise ValueError("has means, SDs and coefficients that do not fit together")
        weights = coefficients / sd
        intercept = scalar(ridge.state["intercept_"]) - float(weights @ mean)
    except DAMAGES as error:
        raise BadInput(
            f"{source}: is not read, since it is no plain joblib file of scikit-learn's StandardScaler and Ridge "
            f"({error}); nothing of it was run. Use the file as its authors published it"
        ) from error
    if not math.isfinite(intercept) or not np.isfinite(weights).all():
        raise BadInput(f"{source}: has coefficients that are no numbers; use the file as its authors published it")
    return intercept, weights
