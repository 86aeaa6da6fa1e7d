"""Infrastructure that every capability plans on: arrays inside, one versioned file format, a networkx graph outside."""

from edgewright.core.infrastructure.fields import Kind, Radio
from edgewright.core.infrastructure.model import CELLS, KINDS, RADIOS, Infrastructure

__all__ = ["CELLS", "KINDS", "RADIOS", "Infrastructure", "Kind", "Radio"]
