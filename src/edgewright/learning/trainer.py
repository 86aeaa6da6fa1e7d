"""The training loop: jitted chunks of rounds, and between them progress, evaluation, checkpoint and stop."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from edgewright.core.contracts import Twin
from edgewright.core.errors import InputError
from edgewright.learning import checkpoints
from edgewright.learning.config import Config
from edgewright.learning.episodes import begin, move
from edgewright.learning.learner import Learner, learner
from edgewright.learning.parts import Parts
from edgewright.learning.progress import Progress, progress_bar
from edgewright.learning.training import Curve, Training

Array = Any
_TRAINING, _EVALUATION = 0, 1  # streams of one seed's key, so that evaluation never meets a training draw


@dataclass(frozen=True)
class Evaluation:
    """Greedy episodes after every chunk, on scenarios fixed by `seed` and never drawn in training."""

    episodes: int = 32
    seed: int = 0
    twin: Twin | None = None
    """Another twin of the same shape to judge on; None for the one trained on."""

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise InputError("evaluation.episodes", self.episodes, "a whole number >= 1")


@dataclass(frozen=True)
class Stop:
    """Stop early. Judged by the evaluation, or by the training return where there is none."""

    target: float | None = None
    """Once every seed's best reached this return."""
    patience: int | None = None
    """Once no seed improved its best by `improvement` in so many chunks."""
    improvement: float = 0.0


def train(
    twin: Twin,
    config: Config,
    *,
    seeds: Sequence[int] = (0,),
    steps: int,
    evaluate: Evaluation | None = None,
    stop: Stop | None = None,
    on_progress: Callable[[Progress], bool | None] | None = None,
    checkpoint: str | Path | None = None,
    chunk_steps: int = 10_000,
    show_progress: bool | None = None,
    vectorise_seeds: bool | None = None,
) -> Training:
    """Train one policy per seed, all seeds at once.

    steps: environment steps of each seed, rounded up to whole rounds. chunk_steps: between two looks of the host.
    checkpoint: a folder, written atomically after each chunk; a run found there is resumed, bit for bit, and may be
    lengthened by a larger `steps`. on_progress: returning False stops. show_progress: None shows a bar in a terminal.
    vectorise_seeds: train all seeds in one vmap, as an accelerator needs it (None: there only), or on a thread each.
    Raises InputError for a configuration the twin cannot take and for a checkpoint of another run.
    """
    seeds = tuple(int(seed) for seed in seeds)
    if not seeds or len(set(seeds)) != len(seeds):
        raise InputError("seeds", seeds, "one or more different whole numbers")
    for field, value in (("steps", steps), ("chunk_steps", chunk_steps)):
        if value < 1:
            raise InputError(field, value, "a whole number >= 1")
    checkpoints.use_compilation_cache()
    program, arrays = _program(twin, config, evaluate)
    one = learner(twin, config)
    per_round = one.steps_per_round
    rounds = -(-steps // per_round)
    chunk = max(1, round(chunk_steps / per_round))

    began = time.perf_counter()
    keys = jnp.stack([jax.random.fold_in(jax.random.key(seed), _TRAINING) for seed in seeds])
    with checkpoints.compiling(twin.spec, config, [array.shape for array in arrays]):
        lanes = _Lanes(program, arrays, keys, together=vectorise_seeds)
    # What is handed to BLAS is small: waking a thread for half of it costs more than doing it.
    with lanes, threadpool_limits(1, user_api="blas"):
        curve = Curve.empty(len(seeds))
        identity = checkpoints.identity(twin, config, seeds, evaluate, chunk_steps)
        folder = Path(checkpoint) if checkpoint is not None else None
        if folder is not None and (found := checkpoints.load(folder, identity, lanes.stacked())) is not None:
            kept, curve = found
            lanes.restore(kept)
        done = curve.rounds
        compile_s = time.perf_counter() - began

        reason, started, first = "steps", time.perf_counter(), done
        with progress_bar(rounds * per_round, done * per_round, show_progress) as show:
            while done < rounds:
                until = min((done // chunk + 1) * chunk, rounds)
                lanes.advance(done, until)
                judged = lanes.evaluate() if evaluate else None
                lanes.keep(curve.add(until, until * per_round, lanes.statistics(), judged))
                done = until
                if folder is not None:
                    checkpoints.save(folder, identity, lanes.stacked(), curve)
                elapsed = time.perf_counter() - started
                rate = (done - first) * per_round / elapsed
                now = Progress(done * per_round, rounds * per_round, rate, elapsed, curve)
                show(now)
                if on_progress is not None and on_progress(now) is False:
                    reason = "on_progress"
                    break
                if stop is not None and (why := _stop_reason(stop, curve)):
                    reason = why
                    break
        wall_s = time.perf_counter() - started
        last, best = lanes.policies()
    return Training(
        spec=twin.spec,
        config=config,
        network=one.network,
        seeds=seeds,
        steps=done * per_round,
        curve=curve,
        last=last,
        best=best,
        evaluation=(evaluate.seed, evaluate.episodes) if evaluate else None,
        stopped_by=reason,
        compile_s=compile_s,
        wall_s=wall_s,
    )


class _Lanes:
    """Seeds in lanes that run side by side: one lane of all seeds under vmap, or a lane and a thread per seed.

    Lanes of one seed are the same compiled program whatever the number of seeds: the same bits as that seed alone.
    A larger vmap sums in another order.
    """

    def __init__(self, program: _Program, arrays: Sequence[Array], keys: Array, *, together: bool | None) -> None:
        together = jax.default_backend() != "cpu" if together is None else together
        self.program, self.arrays = program, arrays
        self.keys = [keys] if together else [keys[i : i + 1] for i in range(len(keys))]
        self.pool = ThreadPoolExecutor(min(len(self.keys), os.cpu_count() or 1))
        self.states = self._each(lambda keys: program.begin(arrays, keys), self.keys)
        self.best = self._policies()
        self.advance(0, 0)  # no round: compiles

    def __enter__(self) -> _Lanes:
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.shutdown()

    def advance(self, first: int, until: int) -> None:
        self.states = self._each(
            lambda states, keys: self.program.advance(self.arrays, states, keys, first, until), self.states, self.keys
        )

    def evaluate(self) -> Array:
        """float32[S], mean return over episodes and agents"""
        return np.concatenate(self._each(lambda policy: self.program.judge(self.arrays, policy), self._policies()))

    def statistics(self) -> Any:
        """What was summed since the last call, [S]."""
        told = _stack([states.statistics for states in self.states])
        self.states = [
            states._replace(statistics=jax.tree.map(jnp.zeros_like, states.statistics)) for states in self.states
        ]
        return told

    def keep(self, better: Array) -> None:
        """Keep the policies of the seeds for which it holds, bool[S]."""
        parts = np.split(better, np.cumsum([len(keys) for keys in self.keys])[:-1])
        new = self._policies()
        self.best = self._each(self.program.keep, parts, new, self.best)

    def policies(self) -> tuple[Any, Any]:
        """The last and the best, numpy, [S, ...]."""
        return _stack(self._policies()), _stack(self.best)

    def _policies(self) -> list[Any]:
        return self._each(lambda states: self.program.policies(self.arrays, states), self.states)

    def stacked(self) -> Any:
        return [list(self.states), list(self.best)]

    def restore(self, kept: Any) -> None:
        self.states, self.best = kept

    def _each(self, function: Callable[..., Any], *arguments: Sequence[Any]) -> list[Any]:
        def finished(*of_lane: Any) -> Any:
            return jax.block_until_ready(function(*of_lane))  # type: ignore[no-untyped-call]

        return list(self.pool.map(finished, *arguments))


def _stack(trees: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *leaves: np.concatenate([np.asarray(leaf) for leaf in leaves]), *trees)


# How hard to optimise, by backend: on a CPU programs run as fast at 1 as at 3, for two thirds of the time to compile.
_LEVELS = {"cpu": 1}


def _options(level: int) -> dict[str, Any]:
    # Small networks: handing a product to the thread pool costs more than the product.
    return {"xla_cpu_multi_thread_eigen": False, "xla_backend_optimization_level": level}


class _Program:
    """The compiled pieces for twins, configuration and evaluation; the number of seeds is a shape."""

    def __init__(self, twins: Parts, config: Config, evaluate: Evaluation | None) -> None:
        """`twins`: to train on, and to judge on."""

        def of(arrays: Sequence[Array]) -> Learner:
            return learner(twins.with_arrays(arrays)[0], config)

        # Keys of begin and of rounds differ: rounds fold in 0, 1, ..., begin the highest.
        def begin(arrays: Sequence[Array], keys: Array) -> Any:
            return jax.vmap(lambda key: of(arrays).begin(jax.random.fold_in(key, 2**32 - 1)))(keys)

        def advance(arrays: Sequence[Array], states: Any, keys: Array, first: Array, until: Array) -> Any:
            def round_of_all(index: Array, states: Any) -> Any:
                now = jax.vmap(jax.random.fold_in, (0, None))(keys, index)
                return jax.vmap(of(arrays).round, (0, 0, None))(states, now, index)

            return jax.lax.fori_loop(first, until, round_of_all, states)

        def policies(arrays: Sequence[Array], states: Any) -> Any:
            # Copies: the states they come from are donated to the next chunk.
            return jax.tree.map(jnp.copy, jax.vmap(of(arrays).policy)(states))

        def keep(better: Array, new: Any, old: Any) -> Any:
            return jax.tree.map(lambda a, b: jnp.where(better.reshape(-1, *[1] * (a.ndim - 1)), a, b), new, old)

        jit = functools.partial(jax.jit, compiler_options=_options(_LEVELS.get(jax.default_backend(), 3)))
        # It runs once: compiling it well would cost more than it saves.
        self.begin = jax.jit(begin, compiler_options=_options(0))
        self.advance = jit(advance, donate_argnums=1)
        self.policies = jit(policies)
        self.keep = jit(keep)
        if evaluate is not None:

            def judge(arrays: Sequence[Array], policies: Any) -> Array:
                judged = twins.with_arrays(arrays)[1]
                return jax.vmap(lambda policy: _returns(judged, of(arrays), evaluate, policy).mean())(policies)

            self.judge = jit(judge)


def _returns(twin: Twin, learner: Learner, evaluate: Evaluation, policy: Any) -> Array:
    """Returns of greedy episodes, mean over agents: float32[episodes]"""
    key = jax.random.fold_in(jax.random.key(evaluate.seed), _EVALUATION)
    begin_key, move_key = jax.random.split(key)
    episodes = begin(twin, begin_key, evaluate.episodes, learner.window)

    def step(index: Array, carry: tuple[Any, Array, Array]) -> tuple[Any, Array, Array]:
        episodes, alive, gain = carry
        action = learner.greedy(policy, episodes.window, episodes.mask)
        episodes, moved = move(twin, jax.random.fold_in(move_key, index), episodes, action)
        return episodes, alive & ~moved.ended, jnp.where(alive, moved.gain, gain)

    alive = jnp.ones(evaluate.episodes, bool)
    carry = jax.lax.fori_loop(0, twin.spec.horizon, step, (episodes, alive, episodes.gain))
    return carry[2]


_cached_program = functools.lru_cache(maxsize=16)(_Program)


def _program(twin: Twin, config: Config, evaluate: Evaluation | None) -> tuple[_Program, list[Array]]:
    """And the arrays to give to it."""
    twins, arrays = Parts.of((twin, (evaluate and evaluate.twin) or twin))
    arrays = [jnp.asarray(array) for array in arrays]
    settings = (config, evaluate and replace(evaluate, twin=None))
    try:
        hash(twins)
    except TypeError:  # compiled anew for every run
        return _Program(twins, *settings), arrays
    return _cached_program(twins, *settings), arrays


def _stop_reason(stop: Stop, curve: Curve) -> str | None:
    if stop.target is not None and (curve.best >= stop.target).all():
        return "target"
    if stop.patience is not None and curve.stale(stop.improvement) >= stop.patience:
        return "plateau"
    return None
