"""One function for each claim of the chapter, grouped as the book groups them."""
