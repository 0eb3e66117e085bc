"""What can be stored and asked: record types, fields, filters, queries, writes. Plain values, no I/O."""
