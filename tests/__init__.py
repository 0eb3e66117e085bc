"""The tests of the house, one folder per room. Never part of a wheel."""
