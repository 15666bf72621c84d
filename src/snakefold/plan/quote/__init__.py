"""What a run will cost, and whether that is within its limits."""

from snakefold.plan.quote.limits import BudgetError, DeadlineError, check_limits, left_out, may_submit
from snakefold.plan.quote.model import Quote, Range
from snakefold.plan.quote.quote import Search, make_quote
from snakefold.plan.quote.text import quote_text

__all__ = [
    "BudgetError",
    "DeadlineError",
    "Quote",
    "Range",
    "Search",
    "check_limits",
    "left_out",
    "make_quote",
    "may_submit",
    "quote_text",
]
