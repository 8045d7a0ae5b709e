"""The command line: typer commands and rich rendering. The only place that prints."""
