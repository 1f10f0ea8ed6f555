"""The four ways a conversation can fail: you misused it, the peer did, you closed it, it broke.

The split is trio's and h11's: whoever handles an error must know from its class alone whom to tell.
"""


class FluxError(Exception):
    """The root of every error that Flux raises on purpose; its text says what to do."""


class LocalError(FluxError):
    """This side misused an interface (a reserved event name, a topic it does not own); fix the caller."""


class RemoteError(FluxError):
    """The peer sent what its protocol or contract forbids; tell the peer, count it, and go on."""


class ClosedError(FluxError):
    """This side closed the thing before it was used again."""


class BrokenError(FluxError):
    """The connection or the service behind it is gone; trying again later may work."""


class SettingsError(LocalError):
    """A setting is wrong; the text names it, its value and what is allowed. Shown without a traceback."""
