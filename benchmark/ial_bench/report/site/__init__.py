"""The report: a folder of pages that opens in a browser, offline. Reads what was stored; imports no torch."""
