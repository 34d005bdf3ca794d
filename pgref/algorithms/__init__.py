"""The chapter's algorithms as state machines, one file each; none imports another."""
