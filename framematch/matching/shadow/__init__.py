"""What a shadow snapshot would change: counts, intervals, report and condition."""
