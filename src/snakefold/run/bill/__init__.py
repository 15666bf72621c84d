"""What a run cost: seconds and dollars of every batch and target, against the quote."""

from snakefold.run.bill.bill import Bill, close_bill, write_bill
from snakefold.run.bill.text import bill_line, bill_text

__all__ = ["Bill", "bill_line", "bill_text", "close_bill", "write_bill"]
