from edgewright.cli import app

app()
