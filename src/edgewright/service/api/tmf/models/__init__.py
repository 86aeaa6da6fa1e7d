"""Models of the TM Forum's specifications, made by `python -m edgewright.service.api.tmf.models.generate FOLDER`."""
