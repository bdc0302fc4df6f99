"""What people look at: tables and figures of many runs, as a static page and on the terminal; torch-free."""
