"""The keepers on a database: SQLite here; MariaDB comes beside it. The only room that imports SQLAlchemy."""
