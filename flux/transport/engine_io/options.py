"""What a Socket.IO server hands through to its Engine.IO server: the settings that are Engine.IO's alone."""

from typing import TypedDict

from flux.transport.engine_io.cookie import Cookie
from flux.transport.engine_io.hooks import HeaderHook


class EngineOptions(TypedDict, total=False):
    """Keyword arguments, each as `EngineServer` has it, with its default there."""

    cors_credentials: bool
    cookie: Cookie | str | None
    initial_headers: HeaderHook | None
    headers: HeaderHook | None
    permessage_deflate: bool
    max_sessions: int | None
    max_sessions_per_address: int | None
    max_packets: int
    max_fragments: int
