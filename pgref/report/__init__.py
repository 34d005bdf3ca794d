"""The chapter as a page: every item with its typeset formula, verdict, measurements, code and figure."""
