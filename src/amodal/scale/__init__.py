"""Batches: the same work in this process, in a pool of processes and on a Ray cluster, with the same bytes as result."""
