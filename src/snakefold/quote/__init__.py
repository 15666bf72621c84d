"""What a run will cost, whether that is within its limits, and what it did cost."""

from snakefold.quote.bill import Bill, close_bill, write_bill
from snakefold.quote.limits import BudgetError, DeadlineError, check_limits, left_out, may_submit
from snakefold.quote.model import Quote, Range
from snakefold.quote.quote import Search, make_quote
from snakefold.quote.text import bill_line, bill_text, quote_text

__all__ = [
    "Bill",
    "BudgetError",
    "DeadlineError",
    "Quote",
    "Range",
    "Search",
    "bill_line",
    "bill_text",
    "check_limits",
    "close_bill",
    "left_out",
    "make_quote",
    "may_submit",
    "quote_text",
    "write_bill",
]
