"""Tables of rows: flagfiles, their runs, and what their results say of the paper's claims."""
