"""Any source of faces, in the one format that `eifn` reads (see `eifn.database`)."""
