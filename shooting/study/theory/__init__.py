"""Functions behind the theory chapters: one equation, one function."""
