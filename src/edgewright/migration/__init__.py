"""Services that follow their users: when to move one, and to which node."""
