"""A trained policy as a page to watch: `page` assembles it from the data files beside it."""
