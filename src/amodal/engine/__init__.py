"""Many things alike: work done in this process, in a pool of processes or on a Ray cluster, with the same bytes as result."""
