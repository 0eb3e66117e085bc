"""The ruler: each figure of docs/performance.md is one command here, with its peer in the same run."""
