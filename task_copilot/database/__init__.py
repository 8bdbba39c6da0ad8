"""Tables, engine, the writer thread and the migrations."""
