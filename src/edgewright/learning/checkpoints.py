"""Checkpoints of a training run, written atomically, and the cache of compiled programs."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from edgewright import __version__
from edgewright.core.errors import InputError
from edgewright.core.files import cache_folder, locked, replacing

if TYPE_CHECKING:
    from edgewright.learning.training import Curve

_FILE = "checkpoint.npz"


def use_compilation_cache() -> None:
    """Keep compiled programs on disk, unless the user configured JAX's cache already.

    `EDGEWRIGHT_JAX_CACHE` moves it from the user's cache folder, or disables it with `off`.
    """
    import jax

    where = os.environ.get("EDGEWRIGHT_JAX_CACHE")
    if where == "off" or getattr(jax.config, "jax_compilation_cache_dir", None):
        return
    folder = where or str(cache_folder() / "jax")
    jax.config.update("jax_compilation_cache_dir", folder)  # type: ignore[no-untyped-call]


@contextmanager
def compiling(*told: object) -> Iterator[None]:
    """Compile within: of processes that compile what is `told` at once, one does, and the others find it kept."""
    import jax

    folder: str | None = getattr(jax.config, "jax_compilation_cache_dir", None)
    with ExitStack() as held:
        if folder is not None and "://" not in folder:
            key = sha256(repr(told).encode()).hexdigest()[:16]
            with suppress(OSError):  # no such folder to be had: each compiles for itself
                Path(folder).mkdir(parents=True, exist_ok=True)
                held.enter_context(locked(Path(folder) / f"compiling-{key}.lock"))
        yield


def identity(twin: Any, config: Any, seeds: tuple[int, ...], evaluate: Any, chunk_steps: int) -> dict[str, Any]:
    """What two runs must share for one to go on with the other's checkpoint, as JSON-ready data."""
    from edgewright.learning.config import as_dict

    spec = twin.spec
    return {
        "format": "edgewright.checkpoint/2",
        "edgewright": __version__,
        "twin": spec.name,
        "agents": list(spec.agents),
        "observation_size": spec.observation_size,
        "action": {"kind": type(spec.action).__name__, **asdict(spec.action)},
        "horizon": spec.horizon,
        "twin_options": _told(twin),
        "seeds": list(seeds),
        "evaluate": None if evaluate is None else [evaluate.seed, evaluate.episodes, _told(evaluate.twin)],
        "chunk_steps": chunk_steps,
        **as_dict(config),
    }


def _told(twin: Any) -> dict[str, str]:
    """What a twin was made with, as text without addresses in memory; {} for None."""
    fields = vars(twin) if hasattr(twin, "__dict__") else {}
    return {name: _text(value) for name, value in sorted(fields.items()) if not name.startswith("_")}


def _text(value: Any) -> str:
    if isinstance(value, partial):
        return f"{_text(value.func)}{value.args}{sorted(value.keywords.items())}"
    return getattr(value, "__qualname__", None) or re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def save(folder: Path, identity: dict[str, Any], tree: Any, curve: Curve) -> None:
    import jax

    leaves: dict[str, Any] = {f"leaf{i}": _to_numpy(leaf) for i, leaf in enumerate(jax.tree.leaves(tree))}
    leaves |= {f"curve_{name}": np.asarray(value) for name, value in vars(curve).items()}
    folder.mkdir(parents=True, exist_ok=True)
    header = np.frombuffer(json.dumps(identity).encode(), np.uint8)
    with replacing(folder / _FILE) as new:
        np.savez(new, header=header, **leaves)


def load(folder: Path, identity: dict[str, Any], like: Any) -> tuple[Any, Curve] | None:
    """What `save` wrote, or None where there is nothing. Raises InputError naming the first difference."""
    import jax

    from edgewright.learning.training import Curve

    path = folder / _FILE
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        header = json.loads(arrays["header"].tobytes())
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise InputError("checkpoint", str(error), "a checkpoint of this library", source=str(path)) from error
    for field in {**identity, **header}:
        if header.get(field) != identity.get(field):
            raise InputError(
                field, identity.get(field), f"{header.get(field)!r}, as in the checkpoint", source=str(path)
            )
    leaves, structure = jax.tree.flatten(like)
    restored = []
    for i, leaf in enumerate(leaves):
        saved = arrays.get(f"leaf{i}")
        if saved is None or saved.shape != _to_numpy(leaf).shape or saved.dtype != _to_numpy(leaf).dtype:
            raise InputError("checkpoint", f"leaf {i}", "the arrays of this twin and configuration", source=str(path))
        restored.append(_from_numpy(saved, leaf))
    told = {k.removeprefix("curve_"): v for k, v in arrays.items() if k.startswith("curve_")}
    curve = Curve(
        rounds=int(told["rounds"]),
        steps=[int(step) for step in told["steps"]],
        training=list(told["training"]),
        evaluation=list(told["evaluation"]),
        loss=list(told["loss"]),
        best=told["best"],
        best_step=told["best_step"],
    )
    return jax.tree.unflatten(structure, restored), curve


def _to_numpy(leaf: Any) -> Any:
    import jax

    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _from_numpy(saved: Any, like: Any) -> Any:
    import jax
    import jax.numpy as jnp

    if _is_key(like):
        return jax.random.wrap_key_data(jnp.asarray(saved), impl=jax.random.key_impl(like))
    return jnp.asarray(saved)


def _is_key(leaf: Any) -> bool:
    import jax

    return bool(jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key))
