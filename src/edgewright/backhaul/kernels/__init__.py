"""What is compiled: rates of an allocation, its value, and the inner loops of the solvers."""
