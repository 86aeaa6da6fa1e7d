"""The training loop: jitted chunks of rounds, and between them progress, evaluation, checkpoint and stop."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from edgewright.core.contracts import Twin
from edgewright.core.errors import InputError
from edgewright.learning import checkpoints
from edgewright.learning.config import Config
from edgewright.learning.episodes import begin, move
from edgewright.learning.learner import Learner, learner
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
) -> Training:
    """Train one policy per seed, all seeds at once.

    steps: environment steps of each seed, rounded up to whole rounds. chunk_steps: between two looks of the host.
    checkpoint: a folder, written atomically after each chunk; a run found there is resumed, bit for bit, and may be
    lengthened by a larger `steps`. on_progress: returning False stops. show_progress: None shows a bar in a terminal.
    Raises InputError for a configuration the twin cannot take and for a checkpoint of another run.
    """
    seeds = tuple(int(seed) for seed in seeds)
    if not seeds or len(set(seeds)) != len(seeds):
        raise InputError("seeds", seeds, "one or more different whole numbers")
    for field, value in (("steps", steps), ("chunk_steps", chunk_steps)):
        if value < 1:
            raise InputError(field, value, "a whole number >= 1")
    checkpoints.use_compilation_cache()
    program = _program(twin, config, evaluate)
    per_round = program.learner.steps_per_round
    rounds = -(-steps // per_round)
    chunk = max(1, round(chunk_steps / per_round))

    began = time.perf_counter()
    keys = jnp.stack([jax.random.fold_in(jax.random.key(seed), _TRAINING) for seed in seeds])
    states = program.begin(keys)
    best = program.policies(states)
    curve = Curve.empty(len(seeds))
    identity = checkpoints.identity(twin, config, seeds, evaluate, chunk_steps)
    folder = Path(checkpoint) if checkpoint is not None else None
    if folder is not None and (found := checkpoints.load(folder, identity, (states, best))) is not None:
        (states, best), curve = found
    done = curve.rounds
    states = program.advance(states, keys, done, done)  # no round: compiles
    jax.block_until_ready(states)
    compile_s = time.perf_counter() - began

    reason, started, first = "steps", time.perf_counter(), done
    with progress_bar(rounds * per_round, done * per_round, show_progress) as show:
        while done < rounds:
            until = min((done // chunk + 1) * chunk, rounds)
            states = program.advance(states, keys, done, until)
            statistics = jax.device_get(states.statistics)
            judged = program.evaluate(states) if evaluate else None
            better = curve.add(until, until * per_round, statistics, judged)
            best = program.keep(jnp.asarray(better), program.policies(states), best)
            states = states._replace(statistics=jax.tree.map(jnp.zeros_like, states.statistics))
            done = until
            if folder is not None:
                checkpoints.save(folder, identity, (states, best), curve)
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
    return Training(
        spec=twin.spec,
        config=config,
        network=program.learner.network,
        seeds=seeds,
        steps=done * per_round,
        curve=curve,
        last=jax.device_get(program.policies(states)),
        best=jax.device_get(best),
        evaluation=evaluate and (evaluate.seed, evaluate.episodes),
        stopped_by=reason,
        compile_s=compile_s,
        wall_s=wall_s,
    )


class _Program:
    """The compiled pieces of one twin, configuration and evaluation; the number of seeds is a shape."""

    def __init__(self, twin: Twin, config: Config, evaluate: Evaluation | None) -> None:
        one = self.learner = learner(twin, config)

        def advance(states: Any, keys: Array, first: Array, until: Array) -> Any:
            def round_of_all(index: Array, states: Any) -> Any:
                now = jax.vmap(jax.random.fold_in, (0, None))(keys, index)
                return jax.vmap(one.round, (0, 0, None))(states, now, index)

            return jax.lax.fori_loop(first, until, round_of_all, states)

        # Keys of begin and of rounds differ: rounds fold in 0, 1, ..., begin the highest.
        self.begin = jax.jit(jax.vmap(lambda key: one.begin(jax.random.fold_in(key, 2**32 - 1))))
        self.advance = jax.jit(advance, donate_argnums=0)
        # Copies: the states they come from are donated to the next chunk.
        self.policies = jax.jit(lambda states: jax.tree.map(jnp.copy, jax.vmap(one.policy)(states)))
        self.keep = jax.jit(
            lambda better, new, old: jax.tree.map(
                lambda a, b: jnp.where(better.reshape(-1, *[1] * (a.ndim - 1)), a, b), new, old
            )
        )
        if evaluate is not None:
            judge = functools.partial(_returns, evaluate.twin or twin, one, evaluate)
            self._judge = jax.jit(jax.vmap(lambda policy: judge(policy).mean()))

    def evaluate(self, states: Any) -> Array:
        """float32[S], mean return over episodes and agents"""
        return np.asarray(self._judge(self.policies(states)))


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


def _program(twin: Twin, config: Config, evaluate: Evaluation | None) -> _Program:
    try:
        return _cached_program(twin, config, evaluate)
    except TypeError:  # a twin that cannot be hashed: compile anew
        hash(config)
        return _Program(twin, config, evaluate)


def _stop_reason(stop: Stop, curve: Curve) -> str | None:
    if stop.target is not None and (curve.best >= stop.target).all():
        return "target"
    if stop.patience is not None and curve.stale(stop.improvement) >= stop.patience:
        return "plateau"
    return None
