"""Large listed companies, with their levels as of the end of 2025 for the simulated exchange (pure data)."""

from attrs import frozen


@frozen
class Company:
    """A listed company.

    Args:
        symbol, name: as `Stock` has them.
        price: USD, to which the simulated price returns.
        volume: shares traded in a usual session.
        volatility: standard deviation of the logarithm of the price over a day.
    """

    symbol: str
    name: str
    price: float
    volume: float
    volatility: float = 0.016


COMPANIES: tuple[Company, ...] = (
    Company("AAPL", "Apple", 275.0, 48e6),
    Company("MSFT", "Microsoft", 482.0, 22e6, 0.014),
    Company("NVDA", "NVIDIA", 182.0, 190e6, 0.025),
    Company("GOOGL", "Alphabet", 315.0, 36e6),
    Company("AMZN", "Amazon", 229.0, 42e6, 0.018),
    Company("META", "Meta Platforms", 655.0, 14e6, 0.02),
    Company("AVGO", "Broadcom", 375.0, 24e6, 0.025),
    Company("TSLA", "Tesla", 445.0, 82e6, 0.032),
    Company("JPM", "JPMorgan Chase", 315.0, 9e6, 0.012),
    Company("V", "Visa", 338.0, 6.5e6, 0.011),
    Company("WMT", "Walmart", 114.0, 18e6, 0.011),
    Company("LLY", "Eli Lilly", 1_010.0, 3.4e6, 0.018),
    Company("ORCL", "Oracle", 205.0, 24e6, 0.026),
    Company("MA", "Mastercard", 552.0, 2.9e6, 0.011),
    Company("XOM", "Exxon Mobil", 117.0, 15e6, 0.013),
    Company("COST", "Costco", 898.0, 2.4e6, 0.011),
    Company("JNJ", "Johnson & Johnson", 203.0, 8e6, 0.009),
    Company("HD", "Home Depot", 352.0, 3.9e6, 0.012),
    Company("PG", "Procter & Gamble", 144.0, 9e6, 0.009),
    Company("NFLX", "Netflix", 98.0, 40e6, 0.02),
    Company("BAC", "Bank of America", 54.0, 36e6, 0.013),
    Company("AMD", "Advanced Micro Devices", 218.0, 38e6, 0.029),
    Company("KO", "Coca-Cola", 71.0, 15e6, 0.008),
    Company("CSCO", "Cisco Systems", 78.0, 20e6, 0.013),
    Company("CRM", "Salesforce", 248.0, 8e6, 0.018),
    Company("DIS", "Walt Disney", 107.0, 9e6, 0.014),
    Company("INTC", "Intel", 40.0, 90e6, 0.03),
    Company("QCOM", "Qualcomm", 175.0, 8e6, 0.019),
    Company("UBER", "Uber Technologies", 89.0, 18e6, 0.02),
    Company("PLTR", "Palantir Technologies", 182.0, 52e6, 0.034),
)
