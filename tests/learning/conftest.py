"""Runs are shared by the session: compiling is what costs."""

from __future__ import annotations

import pytest
from learning_runs import JUDGED, RUNS

from edgewright.learning import Training, train, trainer


@pytest.fixture(scope="session", autouse=True)
def quick_compilation():
    """These programs run for seconds: optimising them costs more than it saves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(trainer._LEVELS, "cpu", 0)
        yield


@pytest.fixture(scope="session")
def runs() -> dict[str, Training]:
    """Trained when first asked for."""

    class Lazy(dict[str, Training]):
        def __missing__(self, name: str) -> Training:
            twin, config, steps, _, _ = RUNS[name]
            seeds = (0, 1) if name in ("dqn", "ppo") else (0,)
            self[name] = train(twin, config, seeds=seeds, steps=steps, evaluate=JUDGED, chunk_steps=steps // 2)
            return self[name]

    return Lazy()
