"""What the numbers mean: functions on arrays, numpy alone, no files."""
