"""Products in MongoDB, their import, and the index snapshots built from them."""
