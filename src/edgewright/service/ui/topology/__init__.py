"""The page of generated 5G infrastructure: a form, what is kept, a map."""
