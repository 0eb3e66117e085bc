"""Bytes by their SHA-256: the promise (`base`), its keeper on a local disk (`disk`), and signed grants (`grants`)."""
