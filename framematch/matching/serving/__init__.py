"""Which snapshot decides the next frame, and how another takes its place."""
