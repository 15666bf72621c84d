"""The steps of a run after its plan: request, task, collect, summary, and what is made of the results."""
