"""The pack of conference events."""
