"""The only code that touches the world: hosts of services, response times, what a host can do."""
