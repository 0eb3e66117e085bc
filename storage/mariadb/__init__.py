"""The keeper on MariaDB: for several hubs over one database."""
