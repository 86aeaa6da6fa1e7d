"""What the demo runs as processes: the localization service, the load generator. Imported by nobody."""
