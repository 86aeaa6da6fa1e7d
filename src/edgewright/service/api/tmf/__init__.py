"""The TM Forum Open APIs over HTTP: one engine, and a value each for its APIs and their kinds of resources."""
