"""The page of orders: the catalogue, orders with their steps, services, slices, events, policies of elasticity."""
