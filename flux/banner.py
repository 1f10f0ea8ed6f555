"""What a person reads when Flux is up: the addresses, what feeds it, how to stop it."""

from attrs import frozen
from rich.console import Console
from rich.table import Table
from rich.text import Text


@frozen(kw_only=True)
class Banner:
    """The facts of a running process.

    Args:
        version: Flux's.
        url: of the door; empty in a process without one.
        broker: Kafka's address, with what it is in brackets.
        providers: what kind of data comes in.
        runs: the services of this process.
    """

    version: str
    url: str
    broker: str
    providers: str
    runs: tuple[str, ...]

    @property
    def lines(self) -> list[tuple[str, str]]:
        """The labels with their facts, in order."""
        door = [("Page", self.url), ("Health", f"{self.url}/readyz"), ("Metrics", f"{self.url}/metrics")]
        return [
            *(door if self.url else []),
            ("Kafka", self.broker),
            ("Providers", self.providers),
            ("Runs", ", ".join(self.runs)),
            ("Stop", "Ctrl-C"),
        ]

    def show(self, console: Console) -> None:
        """Print the banner."""
        grid = Table.grid(padding=(0, 2))
        for label, fact in self.lines:
            grid.add_row(Text(f"  {label}", style="dim"), Text(fact, style="bold" if label == "Page" else ""))
        console.print()
        console.print(Text.assemble(("  Flux ", "bold cyan"), (self.version, "cyan"), " is running"))
        console.print()
        console.print(grid)
        console.print()
