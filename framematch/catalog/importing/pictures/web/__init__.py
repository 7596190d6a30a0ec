"""Pictures at web addresses: what may be asked, how it is asked, and what was answered the last time."""
