"""The page of a migration loop: the road as a picture, the nodes beside it, what the loop did and why."""
