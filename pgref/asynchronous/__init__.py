"""Workers that run at once on shared arrays, without a lock; they know nothing of what is learned.

A worker is a generator with two stops a round. After it has fetched it yields the work to do, a callable
without arguments, and is sent its result; after it has pushed it yields (where it stands, its report). Who
does the work, and who resumes which worker when, is the backend: threads, processes, an executor, or a
schedule in one thread.
"""
