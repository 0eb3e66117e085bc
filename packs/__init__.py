"""Packs: the record types and actions of one domain each, built only on the public names of `hub`."""
