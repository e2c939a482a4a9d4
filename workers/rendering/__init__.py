"""The report for people: terminal, Markdown, one self-contained page."""
