"""Machine code of numba that is kept on disk, made of more than one file."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

from numba import njit


def compiled(own: str, *modules: ModuleType, allocates: bool = True) -> Callable[[Any], Any]:
    """A decorator: compiled at the first call, without the interpreter's lock, and kept on disk.

    `own`: the function's file; `modules`: others whose code goes into it. Its name changes with any of them, since
    numba looks at the function's own file alone and would go on with what it has made of the others.
    `allocates`: a function that makes no arrays, without it, does not count who holds those it is given: where it runs
    for a microsecond and has a dozen, counting took half of that.
    """
    sources = [own, *(str(module.__file__) for module in modules)]
    digest = sha256(b"".join(Path(source).read_bytes() for source in sources)).hexdigest()[:16]

    def compile_(function: Any) -> Any:
        function.__qualname__ = f"{function.__name__}_{digest}"
        options = {"_nrt": allocates}  # numba's own, and not in its types
        return njit(cache=True, nogil=True, error_model="numpy", **options)(function)  # type: ignore[call-overload]

    return compile_
