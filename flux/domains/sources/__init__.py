"""What real sources share: a guarded HTTP client, their health, the choice between real and simulated."""

from flux.domains.sources.board import Board, Health
from flux.domains.sources.choice import Choice
from flux.domains.sources.failures import SourceError
from flux.domains.sources.policy import SourcePolicy
from flux.domains.sources.real import Real
from flux.domains.sources.shape import decode
from flux.domains.sources.source import Query, Source

__all__ = ["Board", "Choice", "Health", "Query", "Real", "Source", "SourceError", "SourcePolicy", "decode"]
