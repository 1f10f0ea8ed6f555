"""Topics as people see them: what there is (``topics``), what comes (``tail``), what was (``replay``)."""

from flux.inspection.replay import replay
from flux.inspection.start import BEGINNING, MOST, Start, parse_start
from flux.inspection.tail import tail
from flux.inspection.topics import topics

__all__ = ["BEGINNING", "MOST", "Start", "parse_start", "replay", "tail", "topics"]
