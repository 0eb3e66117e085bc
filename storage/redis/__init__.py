"""The bus between instances over Redis; see `storage.bus` for the promise."""
