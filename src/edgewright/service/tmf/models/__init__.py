"""Models of the TM Forum's specifications, made by `python -m edgewright.service.tmf.models.generate FOLDER`."""
