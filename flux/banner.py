"""What a person reads when Flux is up: the addresses, what feeds it, how to stop it."""

from collections.abc import Sequence

from attrs import frozen
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flux.domains.providers import ProviderOptions


def modes(options: ProviderOptions, domains: Sequence[str]) -> str:
    """Return where the data of those domains comes from, in short.

    Returns:
        One word where all are alike, ``auto``; else the common mode with the exceptions behind it,
        ``simulated; weather: real``; nothing where there are no domains.
    """
    common = options.mode_of("")
    own = {domain: options.mode_of(domain) for domain in domains}
    if not own:
        return ""
    if len(set(own.values())) == 1:
        return next(iter(own.values())).value
    others = ", ".join(f"{domain}: {mode.value}" for domain, mode in own.items() if mode is not common)
    return f"{common.value}; {others}" if common in own.values() else others


@frozen(kw_only=True)
class Banner:
    """The facts of a running process.

    Args:
        version: Flux's.
        url: of the door; empty in a process without one.
        broker: Kafka's address, with what it is in brackets.
        providers: where the data comes from; empty in a process that fetches none.
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
            *([("Providers", self.providers)] if self.providers else []),
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
