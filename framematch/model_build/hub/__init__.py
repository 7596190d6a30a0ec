"""Downloads a model bundle from a hub: pinned to a commit, resumable, with verified digests."""
