"""Whether simulated ticks stand in for the real ones."""

import trio


class StandIn:
    """Says when it is the simulation's turn: from a while after the feed is down until a real tick comes.

    Args:
        patience: that while, seconds.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._since = 0.0
        self._is_down = trio.Event()

    def down(self) -> None:
        """Note that the feed is down, or is not there yet."""
        if not self._is_down.is_set():
            self._since = trio.current_time()
            self._is_down.set()

    def ticked(self) -> bool:
        """Note a real tick; return whether simulated ones were shown up to now."""
        ends = self.wanted
        if self._is_down.is_set():
            self._is_down = trio.Event()
        return ends

    @property
    def wanted(self) -> bool:
        """Whether it is the simulation's turn now."""
        return self._is_down.is_set() and trio.current_time() >= self._since + self._patience

    async def turn(self) -> None:
        """Wait until it is the simulation's turn."""
        while not self.wanted:
            await self._is_down.wait()
            await trio.sleep_until(self._since + self._patience)
