import pytest
import yaml

QUEUE = {
    "format": "edgewright.study/1",
    "name": "queue",
    "capability": "single_queue:STUDY",
    "baseline": "slow",
    "seeds": 10,
    "methods": [
        {"name": "slow", "parameters": {"speed": 50.0}},
        {"name": "fast", "parameters": {"speed": 60.0}},
    ],
    "scenarios": ["busy.yaml", {"name": "calm", "rate_hz": 20.0}],
    "figures": {"trade_offs": [{"x": "speed", "y": "wait_ms"}]},
}


@pytest.fixture
def write(tmp_path):
    """write(**changes) -> a study file with its scenario beside it"""

    def write(**changes):
        (tmp_path / "busy.yaml").write_text("rate_hz: 40.0\n")
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump({**QUEUE, **changes}, sort_keys=False))
        return path

    return write
