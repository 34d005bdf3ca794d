"""Small vectorised environments, functional, one array for each state variable; the Gymnasium adapters."""
