"""The ruler: each figure of docs/performance.md is one command here, against the real hub and a peer in the same run."""
