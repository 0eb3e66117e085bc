"""Backups: one consistent state of a database with the files that its records name, every byte under a hash."""
