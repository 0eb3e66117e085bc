"""Promises (`base`, `bus`) and their keepers: `sql` over SQLite, `memory` for tests, `blobs` for bytes."""
