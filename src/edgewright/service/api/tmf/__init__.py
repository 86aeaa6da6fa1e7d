"""The TM Forum Open APIs over HTTP: one engine makes the routes of each; what they keep is in `service.tmf`."""
