"""What a run will cost, whether that is within its limits, and what it did cost."""

from snakefold.quote.limits import BudgetError, DeadlineError, check_limits, may_submit
from snakefold.quote.model import Quote, Range
from snakefold.quote.quote import Search, make_quote
from snakefold.quote.text import quote_text

__all__ = [
    "BudgetError",
    "DeadlineError",
    "Quote",
    "Range",
    "Search",
    "check_limits",
    "make_quote",
    "may_submit",
    "quote_text",
]
