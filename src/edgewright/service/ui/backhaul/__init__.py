"""The page of a backhaul loop: its network as a picture, flows and their paths, what the loop did and why."""
