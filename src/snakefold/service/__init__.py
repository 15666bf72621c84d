"""`snakefold serve`: what a worker and a run can do, over HTTP, for several users.

Records of jobs are folders (`records`). A queue names those that wait (`queue`), processes take them from it
(`work`), and routes create them and tell of them (`app` and the modules beside it).
"""
