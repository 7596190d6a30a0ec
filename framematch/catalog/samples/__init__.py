"""Pictures with a known content, which calibrate a snapshot's decisions."""
