"""From records to tables. Reads what was stored; imports no torch."""
