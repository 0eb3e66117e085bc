"""The command line of the hub. Mounted into `aether` by the client distribution."""
