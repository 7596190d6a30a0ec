"""What the process from which those of cameras are forked imports: all of a camera's libraries.

Only that process may import this module. It freezes what is loaded: a collection of garbage writes to each object that
it visits, and so would give every camera a copy of the memory that it shares with the others.
"""

import gc

import edge.worker.run  # noqa: F401  # loaded here, so that no camera has to

gc.collect()
gc.freeze()
