"""Where and how code runs: devices, threads, quiet libraries."""
