"""This Linux host: control groups and the services that run in them."""
