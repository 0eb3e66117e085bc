"""The record types that every hub has: accounts, people, membership, keys, sessions."""
