"""A shadow snapshot decides beside the active one: compared and counted, never published."""
