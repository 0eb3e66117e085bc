"""Live state: what is owed to which socket, watches, rosters, and the order of commits."""
