"""A bound on how many there may be of something, in all and for one owner."""

from flux.errors import LocalError


class Quota:
    """Counts what is held, per owner.

    Args:
        total: how many may be held in all; None is no bound.
        each: how many one owner may hold; None is no bound.

    Raises:
        LocalError: a bound below 1.
    """

    __slots__ = ("_each", "_held", "_total", "held")

    def __init__(self, total: int | None, each: int | None) -> None:
        if (total is not None and total < 1) or (each is not None and each < 1):
            raise LocalError("a bound of connections or sessions is at least 1, or None")
        self._total = total
        self._each = each
        self._held: dict[str, int] = {}
        self.held = 0

    @property
    def per_owner(self) -> bool:
        """Whether owners matter."""
        return self._each is not None

    def refusal(self, owner: str) -> str | None:
        """Return which bound forbids one more (``total`` or ``address``), or None."""
        if self._total is not None and self.held >= self._total:
            return "total"
        if self._each is not None and self._held.get(owner, 0) >= self._each:
            return "address"
        return None

    def take(self, owner: str) -> str | None:
        """Take one, unless a bound forbids it: the answer is `refusal`'s."""
        refusal = self.refusal(owner)
        if refusal is None:
            self.held += 1
            if self._each is not None:
                self._held[owner] = self._held.get(owner, 0) + 1
        return refusal

    def give_back(self, owner: str) -> None:
        """Give back what was taken for that owner."""
        self.held -= 1
        if self._each is None:
            return
        count = self._held[owner] - 1
        if count:
            self._held[owner] = count
        else:
            del self._held[owner]
