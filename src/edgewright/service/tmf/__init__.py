"""APIs of the TM Forum as values, and what every change of their resources does: 633, 641, 638. Routes: `api.tmf`."""
