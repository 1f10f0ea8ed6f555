"""How children fail: the errors that supervision raises itself, and errors as text for logs."""

from collections.abc import Iterator

from flux.errors import BrokenError

TEXT_LIMIT = 500
"""Characters of an error's text kept for log lines and the tree; a peer's message may be of any length."""


class StartTimeout(BrokenError):  # noqa: N818 - named as trio names its own: by what happened
    """A child did not report readiness within its start deadline; handled as a crash."""


class ReturnedEarly(BrokenError):  # noqa: N818 - as above
    """A permanent child returned; it should run until it is cancelled. Handled as a crash."""


class TooManyRestarts(BrokenError):  # noqa: N818 - as above
    """Children crashed more often than the restart intensity allows; the supervisor gave up.

    Args:
        supervisor: its name.
        crashes: how many crashes fell into the window.
        window: its length, seconds.
        errors: those crashes' errors, oldest first.
    """

    def __init__(
        self, supervisor: str, crashes: int, window: float, errors: tuple[BaseException, ...]
    ) -> None:
        last = describe(errors[-1]) if errors else "unknown"
        super().__init__(f"{supervisor}: {crashes} crashes within {window:g} s, last: {last}")
        self.supervisor = supervisor
        self.crashes = crashes
        self.window = window
        self.errors = errors


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors within nested exception groups, or the error itself where it is no group."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


def describe(error: BaseException) -> str:
    """Return an error as one line of text: ``Type: message``, the leaves of a group joined by ``; ``."""
    text = "; ".join(_describe_leaf(leaf) for leaf in leaves(error))
    return text if len(text) <= TEXT_LIMIT else text[: TEXT_LIMIT - 1] + "…"


def _describe_leaf(error: BaseException) -> str:
    try:
        message = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - a broken __str__ must not turn one failure into two
        message = "(its text cannot be shown)"
    name = type(error).__name__
    return f"{name}: {message}" if message else name
