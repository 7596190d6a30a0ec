"""What operators do with snapshots: look, give names, delete."""
