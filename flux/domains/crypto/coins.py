"""The coins of the simulated market, with their levels as of the end of 2025 (pure data)."""

from attrs import frozen


@frozen
class Coin:
    """A coin at its long-term level.

    Args:
        symbol, id, name: as `Asset` has them.
        price: USD, to which the simulated price returns.
        supply: coins in circulation.
        volatility: standard deviation of the logarithm of the price over a day; near 0 for a stable coin.
        turnover: the day's traded volume as a part of the market capitalisation.
    """

    symbol: str
    id: str
    name: str
    price: float
    supply: float
    volatility: float = 0.045
    turnover: float = 0.05

    @property
    def product(self) -> str:
        """The exchange's product: the coin against US dollars."""
        return f"{self.symbol}-USD"


COINS: tuple[Coin, ...] = (
    Coin("BTC", "bitcoin", "Bitcoin", 91_000.0, 19.96e6, 0.022, 0.03),
    Coin("ETH", "ethereum", "Ethereum", 3_050.0, 120.7e6, 0.032, 0.06),
    Coin("SOL", "solana", "Solana", 138.0, 556e6, 0.04),
    Coin("XRP", "ripple", "XRP", 2.15, 60.2e9, 0.035),
    Coin("DOGE", "dogecoin", "Dogecoin", 0.148, 151e9),
    Coin("ADA", "cardano", "Cardano", 0.44, 35.9e9),
    Coin("LINK", "chainlink", "Chainlink", 13.1, 697e6),
    Coin("AVAX", "avalanche-2", "Avalanche", 14.2, 427e6),
    Coin("LTC", "litecoin", "Litecoin", 84.0, 76.5e6, 0.035),
    Coin("DOT", "polkadot", "Polkadot", 2.28, 1.64e9),
    Coin("BCH", "bitcoin-cash", "Bitcoin Cash", 545.0, 19.96e6, 0.035),
    Coin("XLM", "stellar", "Stellar", 0.25, 32.2e9),
    Coin("SUI", "sui", "Sui", 1.6, 3.68e9, 0.055),
    Coin("HBAR", "hedera-hashgraph", "Hedera", 0.14, 42.5e9),
    Coin("SHIB", "shiba-inu", "Shiba Inu", 0.0000086, 589e12, 0.05),
    Coin("UNI", "uniswap", "Uniswap", 6.0, 630e6, 0.05),
    Coin("AAVE", "aave", "Aave", 182.0, 15.3e6, 0.05),
    Coin("NEAR", "near", "NEAR Protocol", 1.82, 1.28e9, 0.055),
    Coin("ICP", "internet-computer", "Internet Computer", 3.9, 542e6, 0.055),
    Coin("ETC", "ethereum-classic", "Ethereum Classic", 13.6, 154e6),
    Coin("APT", "aptos", "Aptos", 1.95, 735e6, 0.055),
    Coin("ARB", "arbitrum", "Arbitrum", 0.21, 5.6e9, 0.055),
    Coin("OP", "optimism", "Optimism", 0.32, 1.9e9, 0.055),
    Coin("ATOM", "cosmos", "Cosmos Hub", 2.3, 475e6),
    Coin("FIL", "filecoin", "Filecoin", 1.55, 720e6, 0.05),
    Coin("ALGO", "algorand", "Algorand", 0.138, 8.8e9),
    Coin("PEPE", "pepe", "Pepe", 0.0000046, 420.7e12, 0.065, 0.12),
    Coin("BONK", "bonk", "Bonk", 0.0000095, 82.5e12, 0.065, 0.1),
    Coin("INJ", "injective-protocol", "Injective", 5.6, 100e6, 0.055),
    Coin("RENDER", "render-token", "Render", 1.65, 518e6, 0.055),
    Coin("TIA", "celestia", "Celestia", 0.6, 840e6, 0.06),
    Coin("SEI", "sei-network", "Sei", 0.135, 6.4e9, 0.055),
    Coin("GRT", "the-graph", "The Graph", 0.047, 10.6e9, 0.05),
    Coin("LDO", "lido-dao", "Lido DAO", 0.64, 895e6, 0.055),
    Coin("CRV", "curve-dao-token", "Curve DAO", 0.42, 1.42e9, 0.055),
    Coin("XTZ", "tezos", "Tezos", 0.48, 1.06e9),
    Coin("SAND", "the-sandbox", "The Sandbox", 0.152, 2.6e9, 0.055),
    Coin("MANA", "decentraland", "Decentraland", 0.165, 1.94e9, 0.055),
    Coin("BAT", "basic-attention-token", "Basic Attention Token", 0.24, 1.5e9, 0.05),
    Coin("USDT", "tether", "Tether", 1.0, 186e9, 0.0003, 0.4),
    Coin("USDC", "usd-coin", "USDC", 1.0, 77e9, 0.0002, 0.15),
)
"""In the order in which the ticker takes them as products."""
